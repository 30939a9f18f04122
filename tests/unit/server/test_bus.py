"""The server's end of the bus, spoken to by bytes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets.asyncio.client as ws
from websockets.exceptions import ConnectionClosed, InvalidStatus

from relay_runner.errors import RelayNotFound
from relay_runner.protocol.access import Caller
from relay_runner.protocol.calls import BUS
from relay_runner.protocol.messages import MessageQuery, MessageRecord, NewMessage
from relay_runner.protocol.tokens import ADMIN, SEND, TokenRequest
from relay_runner.protocol.wire import encode
from relay_runner.server.core import Core
from relay_runner.server.feed import GOING_AWAY, SLOW, UNAUTHORIZED
from tests.contract.relays import WAIT_S, Clock, hello, served
from tests.unit.server.raw import token_of

pytestmark = pytest.mark.anyio

OPERATOR = Caller("person:op", frozenset({SEND, ADMIN}))


@asynccontextmanager
async def dialled(url: str, token: str) -> AsyncIterator[ws.ClientConnection]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with ws.connect("ws" + url[4:] + BUS, additional_headers=headers, proxy=None, close_timeout=1) as socket:
        yield socket


async def answer(socket: ws.ClientConnection, data: str | bytes) -> dict[str, Any]:
    await socket.send(data)
    async with asyncio.timeout(WAIT_S):
        found: dict[str, Any] = json.loads(await socket.recv())
    return found


async def close_code(socket: ws.ClientConnection, got: list[str] | None = None) -> int:
    """Return how the bus ended; the types of the frames before go to `got`."""
    got = [] if got is None else got
    with pytest.raises(ConnectionClosed) as caught:
        async with asyncio.timeout(WAIT_S):
            while True:
                got.append(json.loads(await socket.recv())["type"])
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


def greeting(**more: Any) -> str:
    return encode(hello("bob", **more)).decode()


async def test_a_bus_without_a_good_token_is_not_opened(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (_, url):
        for token in ("", "wrong"):
            with pytest.raises(InvalidStatus) as caught:
                async with dialled(url, token):
                    raise AssertionError("opened")
            assert caught.value.response.status_code == 401
            assert json.loads(caught.value.response.body or b"")["error"]["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("first", "code", "word"),
    [
        ("nonsense", 4400, "not a frame"),
        ('{"type":"heartbeat","at":1}', 4400, "hello"),
        ('{"type":"new-thing"}', 4400, "hello"),
        ('{"type":"hello","agentId":5}', 4400, "agentId"),
        (greeting().replace('"bob"', '"Bob!"'), 4400, "agent's id"),
        (greeting().replace('"bob"', '"eve"'), 4403, "agent:eve"),
        (greeting(protocol=2), 4406, "relay restart"),
    ],
)
async def test_a_wrong_hello_is_told_why(tmp_path: Path, first: str, code: int, word: str) -> None:
    async with served(tmp_path / "r.db") as (core, url):
        token = await token_of(core, "agent:bob", "agent:bob")
        async with dialled(url, token) as socket:
            frame = await answer(socket, first)
            assert frame["type"] == "error" and frame["fatal"] and word in frame["message"]
            assert await close_code(socket) == code


async def test_unknown_frames_are_counted_and_malformed_ones_end_the_bus(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url):
        async with dialled(url, await token_of(core)) as socket:
            assert (await answer(socket, greeting()))["type"] == "welcome"
            await socket.send('{"type":"tomorrow"}')
            frame = await answer(socket, '{"type":"status","status":{"agentStatus":"sleepy"}}')
            assert frame["type"] == "error" and "sleepy" in frame["message"]
            assert await close_code(socket) == 4400
        assert core.metrics.unknown_frames == 1


async def test_a_deep_frame_ends_its_own_bus_and_is_not_kept(tmp_path: Path) -> None:
    deep = "[" * 500 + "]" * 500
    async with served(tmp_path / "r.db") as (core, url):
        token = await token_of(core)
        for last in (f'{{"type":"heartbeat","at":1,"meta":{{"a":{deep}}}}}', f'{{"type":"new","a":{deep}}}'):
            async with dialled(url, token) as socket:
                await answer(socket, greeting())
                frame = await answer(socket, last)
                assert frame["type"] == "error" and "deeper" in frame["message"]
                assert await close_code(socket) == 4400
        (agent,) = await core.store.agents()
        assert agent.meta == {}


async def test_a_revoked_token_ends_its_bus(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url):
        token = await token_of(core, "agent:bob", "agent:bob")
        async with dialled(url, token) as socket:
            await answer(socket, greeting())
            await core.store.revoke_token((await core.tokens.caller(token)).jti)
            assert await close_code(socket) == UNAUTHORIZED


async def test_a_hello_after_the_revocation_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url):
        token = await token_of(core, "agent:bob", "agent:bob")
        async with dialled(url, token) as socket:
            await core.store.revoke_token((await core.tokens.caller(token)).jti)
            frame = await answer(socket, greeting())
            assert (frame["type"], frame["code"]) == ("error", "token-revoked")
            assert await close_code(socket) == UNAUTHORIZED
        assert await core.store.agents() == []


async def test_a_bus_ends_with_its_token(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url):
        grant = await core.tokens.mint(TokenRequest(subject="agent:bob", scopes=("agent:bob",), ttl_s=0.5))
        async with dialled(url, grant.token) as socket:
            assert (await answer(socket, greeting()))["type"] == "welcome"
            assert await close_code(socket) == UNAUTHORIZED
            assert time.time() >= grant.expires_at


async def test_nothing_passes_a_bus_whose_token_ended_by_a_jump_of_the_clock(tmp_path: Path) -> None:
    clock = Clock()
    async with served(tmp_path / "r.db", clock) as (core, url):
        request = TokenRequest(subject="agent:bob", scopes=("agent:bob",), ttl_s=100.0)
        reader, writer = [(await core.tokens.mint(request)).token for _ in range(2)]
        async with dialled(url, reader) as socket:
            await answer(socket, greeting())
            clock.now += 100.0
            await core.store.accept(OPERATOR, NewMessage(to="bob", body="too late"))
            got: list[str] = []
            assert await close_code(socket, got) == UNAUTHORIZED
            assert "message.new" not in got
        clock.now -= 100.0
        async with dialled(url, writer) as socket:
            await answer(socket, greeting())
            clock.now += 100.0
            await socket.send('{"type":"heartbeat","at":1,"meta":{"new":1}}')
            assert await close_code(socket) == UNAUTHORIZED
        assert (await core.store.agent("bob")).meta == {}


async def test_the_end_of_the_relay_ends_every_bus_in_order(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url), dialled(url, await token_of(core)) as socket:
        await answer(socket, greeting())
        core.closing.set()
        assert await close_code(socket) == GOING_AWAY
        async with asyncio.timeout(WAIT_S):
            while (await core.store.agent("bob")).connected:  # noqa: ASYNC110 - the store is told last
                await asyncio.sleep(0.005)


async def test_a_slow_reader_loses_its_bus_and_blocks_nobody(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url):
        token = await token_of(core)
        async with dialled(url, token) as slow:
            await answer(slow, greeting())
            slow.transport.pause_reading()  # type: ignore[attr-defined]
            body = "x" * 1_000_000
            async with dialled(url, token) as other:
                await answer(other, encode(hello("ann")).decode())
                for _ in range(40):
                    await core.store.accept(OPERATOR, NewMessage(to="bob", body=body))
                await core.store.accept(OPERATOR, NewMessage(to="ann", body="quick"))
                frame = json.loads(await other.recv())
                assert frame["message"]["body"] == "quick"
            assert core.metrics.dropped == 1
            slow.transport.resume_reading()  # type: ignore[attr-defined]
            assert await close_code(slow) == SLOW
        assert (await core.store.counts()).queued == 41


async def test_nothing_between_the_hello_and_the_welcome_is_missed(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url), dialled(url, await token_of(core)) as socket:
        async with asyncio.TaskGroup() as group:
            group.create_task(socket.send(greeting()))
            group.create_task(flood(core))
        got: set[int] = set()
        async with asyncio.timeout(WAIT_S):
            while len(got) < 50:
                frame = json.loads(await socket.recv())
                if frame["type"] == "welcome":
                    backlog = {row.message.id for row in await _backlog(core)}
                    got |= backlog
                elif frame["type"] == "message.new":
                    got.add(frame["message"]["id"])
        assert got == set(range(1, 51))


async def _backlog(core: Core) -> list[MessageRecord]:
    return await core.store.records(OPERATOR, MessageQuery(recipient="agent:bob"))


async def flood(core: Core) -> None:
    """Send fifty messages, from the moment on when the relay knows the agent."""
    for _ in range(50):
        while True:
            try:
                await core.store.accept(OPERATOR, NewMessage(to="bob", body="x"))
                break
            except RelayNotFound:
                await asyncio.sleep(0)
