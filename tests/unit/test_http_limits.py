"""What strangers can take of a server: a bounded head, a bounded time, and few connections."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from relay_runner import http_limits
from relay_runner.http_limits import Limits, raise_file_limit, within_files
from relay_runner.server.core import Core
from tests.contract.relays import WAIT_S, served
from tests.unit.server.raw import token_of

pytestmark = pytest.mark.anyio
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


class Peer:
    """A connection to a server, spoken to by bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def says(self, data: bytes) -> Peer:
        self.writer.write(data)
        await self.writer.drain()
        return self

    async def heard(self) -> bytes:
        """Return everything that comes until the server hangs up."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read(-1)
            except ConnectionResetError:
                return b""

    async def answer(self) -> bytes:
        """Return the head of the next answer."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readuntil(b"\r\n\r\n")


class Town:
    """A relay, and any number of connections to it."""

    def __init__(self, core: Core, url: str, stack: AsyncExitStack) -> None:
        self.core = core
        self._port = int(url.rpartition(":")[2])
        self._stack = stack

    async def peer(self) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._stack.callback(writer.close)
        return Peer(reader, writer)


@asynccontextmanager
async def town(folder: Path, limits: Limits) -> AsyncIterator[Town]:
    async with served(folder / "r.db", limits=limits) as (core, url), AsyncExitStack() as stack:
        yield Town(core, url, stack)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"x" * 3000,
        HALF + b"X: " + b"y" * 3000,
        HALF + b"X: " + b"y" * 3000 + b"\r\n\r\n",
        HALF + b"X: y\r\n" * 30 + b"\r\n",
        HALF + b"X: y\r\n" * 30,
        b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 30,
    ],
)
async def test_a_head_is_small(tmp_path: Path, head: bytes) -> None:
    async with town(tmp_path, Limits(head_bytes=2000, headers=20)) as it:
        for piece in (len(head), 100):
            peer = await it.peer()
            for start in range(0, len(head), piece):
                await peer.says(head[start : start + piece])
            heard = await peer.heard()
            assert heard == b"" or b" 431 " in heard or b" 405 " in heard, heard
        assert b" 200 " in await (await (await it.peer()).says(HEALTH)).answer()


@pytest.mark.parametrize("said", [b"", b"\r\n", b"GET", HALF])
async def test_a_request_that_is_not_sent_is_not_waited_for(tmp_path: Path, said: bytes) -> None:
    async with town(tmp_path, Limits(first_byte_s=0.2, head_s=0.2)) as it:
        peer = await (await it.peer()).says(said)
        assert b" 408 " in await peer.heard()
        again = await (await it.peer()).says(HEALTH.replace(b"healthz", b"nowhere", 1))
        assert b" 404 " in await again.heard()


async def test_a_byte_now_and_then_prolongs_nothing(tmp_path: Path) -> None:
    async with town(tmp_path, Limits(head_s=0.5)) as it:
        peer = await it.peer()

        async def trickle() -> None:
            while True:
                await peer.says(b"G")
                await asyncio.sleep(0.05)

        task = asyncio.create_task(trickle())
        try:
            assert len(await peer.heard()) >= 0
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.mark.parametrize("limits", [Limits(body_idle_s=0.2), Limits(body_s=0.2)])
async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path, limits: Limits) -> None:
    async with town(tmp_path, limits) as it:
        token = await token_of(it.core)
        head = f"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        peer = await (await it.peer()).says(head.encode() + b"Content-Length: 100\r\n\r\n{")
        assert b" 408 " in await peer.heard()
        assert (await it.core.store.counts()).queued == 0


async def test_a_body_that_comes_on_slowly_has_the_time(tmp_path: Path) -> None:
    async with town(tmp_path, Limits(body_s=0.3, body_rate=10)) as it:
        token = await token_of(it.core)
        head = f"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        body = b'{"to":"person:ann","body":"' + b"x" * 40 + b'"}'
        peer = await (await it.peer()).says(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 10):
            await peer.says(body[start : start + 10])
            await asyncio.sleep(0.1)
        assert b" 201 " in await peer.answer()


async def test_half_sent_requests_are_in_nobodys_way(tmp_path: Path) -> None:
    async with town(tmp_path, Limits(half_open=5, burst_s=0.0)) as it:
        waiting = [await (await it.peer()).says(HALF) for _ in range(20)]
        assert b" 408 " in await waiting[0].heard()
        assert b" 200 " in await (await (await it.peer()).says(HEALTH)).answer()
        assert b" 200 " in await (await waiting[-1].says(b"\r\n")).answer()


async def test_a_crowd_that_comes_at_once_is_served(tmp_path: Path) -> None:
    async with town(tmp_path, Limits(half_open=5)) as it:
        crowd = await asyncio.gather(*(it.peer() for _ in range(50)))
        for one in crowd:
            await one.says(HEALTH)
        assert [b" 200 " in await one.heard() for one in crowd] == [True] * 50


async def test_one_peer_has_not_all_connections(tmp_path: Path) -> None:
    async with town(tmp_path, Limits(per_peer=8)) as it:
        half = [await (await it.peer()).says(HALF) for _ in range(8)]
        assert b" 200 " in await (await (await it.peer()).says(HEALTH)).answer(), "the oldest that says nothing goes"
        assert b" 408 " in await half[0].heard()
    async with town(tmp_path, Limits(per_peer=8)) as it:
        token = await token_of(it.core)
        known = f"GET /api/v1/tokens/self HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        kept = [await (await it.peer()).says(known) for _ in range(8)]
        assert [b" 200 " in await one.answer() for one in kept] == [True] * 8
        assert b" 503 " in await (await (await it.peer()).says(HEALTH)).heard()
        kept[0].writer.close()
        await kept[0].writer.wait_closed()
        async with asyncio.timeout(WAIT_S):
            while b" 200 " not in await (await (await it.peer()).says(HEALTH)).heard():
                continue


async def test_only_a_good_token_keeps_a_connection(tmp_path: Path) -> None:
    async with town(tmp_path, Limits()) as it:
        for path, status in ((b"healthz", b"200"), (b"api/v1/agents", b"401"), (b"nowhere", b"404")):
            heard = await (await (await it.peer()).says(HEALTH.replace(b"healthz", path))).heard()
            assert b" %s " % status in heard and b"connection: close" in heard
        token = await token_of(it.core)
        known = f"GET /api/v1/agents HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        peer = await it.peer()
        for _ in range(3):
            assert b"connection: close" not in await (await peer.says(known)).answer()
            assert await peer.reader.readexactly(2) == b"[]"


async def test_whoever_does_not_read_the_end_is_left(tmp_path: Path) -> None:
    async with town(tmp_path, Limits(linger_s=0.2)) as it:
        deaf = await it.peer()
        token = await token_of(it.core)
        body = b'{"to":"person:ann","body":"%s"}' % (b"x" * 1_000_000)
        head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n".encode()
        post = b"POST /api/v1/messages HTTP/1.1\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        for _ in range(8):
            sender = await (await it.peer()).says(post)
            assert b" 201 " in await sender.answer()
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await deaf.says(b"GET /api/v1/messages HTTP/1.1\r\nConnection: close\r\n" + head + b"\r\n")
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(WAIT_S):
                while True:  # what is written to it is answered with a reset, once it is gone
                    await deaf.says(b"x")
                    await asyncio.sleep(0.01)


def test_files_are_there_for_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        raised = raise_file_limit()
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, http_limits.WANTED_FILES)
        assert raise_file_limit() == raised
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        within = within_files(Limits())
        assert within.in_all == within.per_peer == 256 - http_limits.RESERVED_FILES and within.half_open < 64
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
