"""The client's end of the bus: every way it can fail, told apart."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from relay_runner.errors import ProtocolError, RelayRefused, RelayRunnerError, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.frames import Heartbeat, Superseded
from relay_runner.protocol.wire import encode
from relay_runner.relay import bus
from relay_runner.relay.endpoint import Endpoint
from relay_runner.relay.http import HttpRelay
from tests.contract.relays import WAIT_S, hello, served
from tests.unit.relay.servers import answering, http
from tests.unit.server.raw import token_of

pytestmark = pytest.mark.anyio


async def failure(relay: HttpRelay) -> RelayRunnerError:
    with pytest.raises(RelayRunnerError) as caught:
        async with asyncio.timeout(WAIT_S), relay, relay.connect(hello("bob")):
            raise AssertionError("connected")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http("200 OK", b"<html>"), ProtocolError),
        (http("404 Not Found"), ProtocolError),
        (http("302 Found", b"", "Location: /x"), RelayRefused),
        (http("401 Unauthorized", b'{"error":{"code":"unauthorized","message":"no"}}'), RelayUnauthorized),
        (http("503 Busy", b'{"error":{"code":"store","message":"disk"}}'), RelayUnavailable),
        (http("502 Bad Gateway"), RelayUnavailable),
        (b"SSH-2.0-OpenSSH\r\n", ProtocolError),
        (b"", RelayUnavailable),
    ],
)
async def test_what_is_no_bus(answer: bytes, error: type[RelayRunnerError]) -> None:
    async with answering(answer) as url:
        assert type(await failure(HttpRelay.at(url, "t"))) is error


async def test_a_relay_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        relay = HttpRelay.at(f"http://127.0.0.1:{closed.getsockname()[1]}", "t")
        assert isinstance(await failure(relay), RelayUnavailable)


async def test_a_lost_connection_and_a_lost_token_are_told_apart(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url):
        token = await token_of(core, "agent:bob", "agent:bob")
        async with HttpRelay.at(url, token) as relay, relay.connect(hello("bob")) as joined:
            assert joined.welcome.protocol == 1
            await core.store.revoke_token((await core.tokens.caller(token)).jti)
            with pytest.raises(RelayUnauthorized, match="revoked"):
                async with asyncio.timeout(WAIT_S):
                    async for _ in joined:
                        continue
        token = await token_of(core, "agent:ann", "agent:ann")
        async with HttpRelay.at(url, token) as relay, relay.connect(hello("ann")) as joined:
            core.closing.set()
            with pytest.raises(RelayUnavailable, match="the relay is shutting down"):
                async with asyncio.timeout(WAIT_S):
                    async for _ in joined:
                        continue
            with pytest.raises(RelayUnavailable):
                await joined.send(Heartbeat(at=1.0))


async def test_a_token_that_was_revoked_over_the_hello_is_to_be_replaced(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url):
        token = await token_of(core, "agent:bob", "agent:bob")
        dialled = await bus._dial(Endpoint(url, token))
        await core.store.revoke_token((await core.tokens.caller(token)).jti)
        with pytest.raises(RelayUnauthorized, match="revoked") as caught:
            await bus._greet(dialled, hello("bob"))
        assert caught.value.status == 401
        await dialled.close()


async def test_a_frame_that_cannot_be_read_costs_itself_only(tmp_path: Path) -> None:
    async with served(tmp_path / "r.db") as (core, url):
        token = await token_of(core, "agent:bob", "agent:bob")
        async with HttpRelay.at(url, token) as relay, relay.connect(hello("bob")) as joined:
            (outbox,) = core.feed._buses["bob"]
            outbox.offer(b'{"type":"message.new","message":' + b"[" * 5000 + b"]" * 5000 + b"}")
            outbox.offer(b'{"type":"message.new","message":{"id":"x"}}')
            outbox.offer(encode(Superseded(by="two")))
            async with asyncio.timeout(WAIT_S):
                assert await anext(aiter(joined)) == Superseded(by="two")
