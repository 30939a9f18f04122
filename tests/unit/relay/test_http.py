"""What the client adds to the contract: streams that end, and peers that cannot stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay_runner.errors import RelayUnavailable
from relay_runner.protocol.events import Event
from relay_runner.protocol.messages import Message, MessageQuery, MessageRecord, NewMessage
from relay_runner.protocol.wire import encode
from relay_runner.relay import http
from relay_runner.relay.http import HttpRelay
from tests.contract.relays import WAIT_S, served
from tests.unit.relay.servers import answering
from tests.unit.relay.servers import http as http_answer
from tests.unit.server.raw import token_of

pytestmark = pytest.mark.anyio


async def test_a_stream_that_ends_is_not_a_quiet_one(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url), HttpRelay.at(url, await token_of(core)) as relay:
        record = await relay.send(NewMessage(to="person:ann", body="x"))
        watch, events = aiter(relay.watch(record.message.id)), aiter(relay.events(after=0))
        await anext(watch)
        await anext(events)
        core.closing.set()
        for stream in (watch, events):
            with pytest.raises(RelayUnavailable):
                async with asyncio.timeout(WAIT_S):
                    while True:
                        await anext(stream)


async def test_a_peer_that_cannot_stream_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "POLL_S", 0.01)
    message = Message(id=1, sender="a", to="b", body="c", created_at=0.0, expires_at=1.0)
    answer = http_answer("200 OK", encode(MessageRecord(message=message)), "Content-Type: application/json")
    async with answering(answer) as url, HttpRelay.at(url, "t") as relay:
        watch = aiter(relay.watch(1))
        assert (await anext(watch)).message == message
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await anext(watch)


async def test_many_watch_one_message_and_all_see_the_change_soon(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url), HttpRelay.at(url, await token_of(core)) as relay:
        record = await relay.send(NewMessage(to="person:ann", body="x"))
        watches = [aiter(relay.watch(record.message.id)) for _ in range(50)]
        async with asyncio.timeout(WAIT_S):
            for watch in watches:
                await anext(watch)
            await relay.react(record.message.id, "x")
            for watch in watches:
                assert (await anext(watch)).reactions
                await watch.aclose()  # type: ignore[attr-defined]


async def test_what_cannot_be_read_of_a_list_takes_nothing_else_along(caplog: pytest.LogCaptureFixture) -> None:
    good = encode(MessageRecord(message=Message(id=1, sender="a", to="b", body="c", created_at=0.0, expires_at=1.0)))
    bad = good.replace(b'"timing":"queue"', b'"timing":"soon"')
    answer = http_answer("200 OK", b"[" + bad + b"," + good + b"]", "Content-Type: application/json")
    async with answering(answer) as url, HttpRelay.at(url, "t") as relay:
        assert [record.message.id for record in await relay.messages(MessageQuery())] == [1]
    assert "skipped an item of the answer to /api/v1/messages" in caplog.text


async def test_an_event_that_cannot_be_read_ends_no_stream() -> None:
    good = encode(Event(seq=2, type="agent", at=1.0, data={}))
    body = b'data: {"seq":"x"}\n\ndata: ' + b"[" * 5000 + b"\n\ndata: " + good + b"\n\n"
    answer = http_answer("200 OK", body, "Content-Type: text/event-stream")
    async with answering(answer) as url, HttpRelay.at(url, "t") as relay:
        assert (await anext(aiter(relay.events()))).seq == 2
