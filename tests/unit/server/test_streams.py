"""Event streams: nothing missed between the log and the present, and nothing shown to strangers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from relay_runner.errors import RelayNotFound
from relay_runner.protocol.access import Caller
from relay_runner.protocol.events import Event
from relay_runner.protocol.messages import NewMessage
from relay_runner.protocol.tokens import ADMIN, SEND, TokenRequest
from relay_runner.server import streams
from relay_runner.server.core import Core
from relay_runner.server.streams import event_stream, record_stream, visible
from tests.contract.relays import WAIT_S, Clock, served

pytestmark = pytest.mark.anyio

OPERATOR = Caller("person:op", frozenset({SEND, ADMIN}))
LETTER = NewMessage(to="person:ann", body="x")


async def caller_of(core: Core, subject: str = "person:op", *scopes: str) -> Caller:
    request = TokenRequest(subject=subject, scopes=scopes or (SEND, ADMIN))
    return await core.tokens.caller((await core.tokens.mint(request)).token)


def event(type_: str, **data: object) -> Event:
    return Event(seq=1, type=type_, at=0.0, data=data)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (event("agent", id="x"), True),
        (event("task", id=1), False),
        (event("task", id=1, agentId="bob"), True),
        (event("token", jti="x"), False),
        (event("message", **{"from": "agent:bob"}, to="agent:ann"), True),
        (event("message", **{"from": "agent:ann"}, to="agent:eve"), False),
        (event("delivery", **{"from": "agent:ann"}, recipient="agent:bob"), True),
        (event("delivery", **{"from": "agent:ann"}, recipient=None), False),
        (event("command", **{"from": "person:op"}, agentId="bob"), True),
        (event("command", **{"from": "person:op"}, agentId="ann"), False),
    ],
)
async def test_an_event_is_for_those_it_concerns(found: Event, expected: bool) -> None:
    assert visible(Caller("agent:bob", frozenset({"agent:bob"})), found) is expected
    assert visible(OPERATOR, found)


async def test_a_long_log_is_read_whole_while_more_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PAGE", 7)
    async with served(tmp_path / "r.db") as (core, _):
        for _ in range(20):
            await core.store.accept(OPERATOR, LETTER)
        chunks = event_stream(core, await caller_of(core), 0)
        seen: list[int] = []
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
            more = group.create_task(post_more(core, 20))
            while len(seen) < 80:
                seen += [
                    int(line[4:]) for line in (await anext(chunks)).decode().splitlines() if line.startswith("id: ")
                ]
            await more
        assert seen == list(range(1, 81))
        await chunks.aclose()  # type: ignore[attr-defined]


async def post_more(core, count):  # type: ignore[no-untyped-def]
    for _ in range(count):
        await core.store.accept(OPERATOR, LETTER)


async def test_a_record_is_sent_when_it_changed_and_a_comment_when_it_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.01)
    async with served(tmp_path / "r.db") as (core, _):
        sent = await core.store.accept(OPERATOR, LETTER)
        chunks = record_stream(core, await caller_of(core), sent.message.id)
        first = (await anext(chunks)).decode()
        assert json.loads(first.split("data: ")[1])["message"]["id"] == sent.message.id
        assert await anext(chunks) == streams.COMMENT
        await core.store.react(OPERATOR, sent.message.id, "x")
        async with asyncio.timeout(WAIT_S):
            while (chunk := await anext(chunks)) == streams.COMMENT:
                continue
        assert b'"emoji":"x"' in chunk
        await chunks.aclose()  # type: ignore[attr-defined]
        with pytest.raises(RelayNotFound):
            await anext(record_stream(core, await caller_of(core, "person:eve", SEND), sent.message.id))


async def test_a_stream_ends_with_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    async with served(tmp_path / "r.db", clock) as (core, _), asyncio.timeout(WAIT_S):
        request = TokenRequest(subject="person:ann", scopes=(SEND, ADMIN), ttl_s=100.0)
        revoked, outlived = [await core.tokens.mint(request) for _ in range(2)]
        following = event_stream(core, await core.tokens.caller(revoked.token), None)
        assert await anext(following) == streams.COMMENT
        await core.store.revoke_token(revoked.jti)
        with pytest.raises(StopAsyncIteration):
            await anext(following)
        monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.01)
        message = await core.store.accept(OPERATOR, LETTER)
        caller = await core.tokens.caller(outlived.token)
        watching = record_stream(core, caller, message.message.id)
        assert b"record" in await anext(watching)
        assert await anext(watching) == streams.COMMENT
        clock.now += 101.0
        with pytest.raises(StopAsyncIteration):
            await anext(watching)


async def test_a_stream_that_nothing_happens_on_ends_at_once(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, _), asyncio.timeout(streams.KEEP_ALIVE_S - 1):
        sent = await core.store.accept(OPERATOR, LETTER)
        brief = TokenRequest(subject="person:op", scopes=(SEND, ADMIN), ttl_s=0.5)
        for make in (lambda who: event_stream(core, who, None), lambda who: record_stream(core, who, sent.message.id)):
            watching = make(await core.tokens.caller((await core.tokens.mint(brief)).token))
            await anext(watching)
            with pytest.raises(StopAsyncIteration):
                while await anext(watching) == streams.COMMENT:
                    continue
        revoked = await caller_of(core)
        watching = record_stream(core, revoked, sent.message.id)
        await anext(watching)
        await core.store.revoke_token(revoked.jti)
        with pytest.raises(StopAsyncIteration):
            await anext(watching)
