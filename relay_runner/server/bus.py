"""The bus: one WebSocket for each runner, from its hello to its end.

    accept ─► hello ─► registered for pushes ─► hello is committed ─► welcome ─► frames both ways

Registering comes first, so that nothing between the commit and the welcome is missed; what was there before, the runner
reads over HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import NoReturn

from relay_runner import __version__
from relay_runner.errors import ClaimLost, ProtocolError, RelayRunnerError, RelayUnauthorized
from relay_runner.protocol.acceptance import addresses_of
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import AGENT_ID
from relay_runner.protocol.calls import problem_of, status_of
from relay_runner.protocol.decisions import frame_of
from relay_runner.protocol.frames import ErrorFrame, Heartbeat, Hello, StatusFrame, Superseded, Welcome, decode_client
from relay_runner.protocol.permissions import PermissionQuery
from relay_runner.protocol.wire import PROTOCOL_VERSION, encode
from relay_runner.server.core import Core
from relay_runner.server.feed import GOING_AWAY, SUPERSEDED, UNAUTHORIZED, Outbox
from relay_runner.server.http import Receive, Scope, Send, authenticate, race

HELLO_S = 10.0
LEAVE_S = 5.0
LOOK_S = 15.0
"""The longest that the end of a token is waited for at once: the wall clock may be set meanwhile."""
BAD_FRAME = 4400
FORBIDDEN = 4403
WRONG_VERSION = 4406

log = logging.getLogger(__name__)


class _Closed(Exception):
    """The other side closed the connection."""


class _Refused(Exception):
    """We close the connection, after a frame that says why."""

    def __init__(self, code: int, frame: ErrorFrame | Superseded) -> None:
        super().__init__(code)
        self.code = code
        self.frame = frame


class BusEndpoint:
    """Serves the bus as an ASGI application."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            caller = await authenticate(self._core, scope)
        except RelayRunnerError as error:
            await _reject(send, error)
            return
        await send({"type": "websocket.accept"})
        connection = _Connection(self._core, caller, receive, send)
        try:
            await connection.serve()
        except _Closed:
            return
        except _Refused as refusal:
            await connection.close(refusal.code, refusal.frame)
        except RelayUnauthorized as error:  # since the upgrade: a hello may take its time, and a bus lasts
            await connection.close(UNAUTHORIZED, ErrorFrame(code=error.code, message=str(error), fatal=True))
        except RelayRunnerError as error:
            await connection.close(GOING_AWAY, ErrorFrame(code=error.code, message=str(error), fatal=True))


class _Connection:
    def __init__(self, core: Core, caller: Caller, receive: Receive, send: Send) -> None:
        self._core = core
        self._caller = caller
        self._receive = receive
        self._send = send
        self._store = core.store.under(caller)

    async def serve(self) -> None:
        hello = await self._hello()
        addresses = addresses_of(
            agent_id=hello.agent_id,
            label=hello.label,
            tags=hello.tags,
            capabilities=hello.capabilities,
            broad=hello.broad,
        )
        outbox = Outbox(hello.agent_id, hello.instance_id, secrets.token_hex(8), self._caller.jti, addresses)
        with self._core.feed.bus(outbox):
            joined = await self._join(hello, outbox.bus_id)
            try:
                welcome = Welcome(
                    version=__version__,
                    protocol=PROTOCOL_VERSION,
                    at=self._core.clock(),
                    inherited=joined,
                    lease_s=self._core.store.lease_s,
                )
                await self._put(encode(welcome))
                await self._put_decisions(hello.agent_id)
                await race(self._write(outbox), self._read(hello), self._end(outbox))
            finally:
                await self._leave(outbox)

    async def close(self, code: int, frame: ErrorFrame | Superseded) -> None:
        try:
            await self._put(encode(frame))
            reason = frame.message[:100] if isinstance(frame, ErrorFrame) else "superseded"
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except _Closed:
            return

    async def _hello(self) -> Hello:
        try:
            async with asyncio.timeout(HELLO_S):
                frame = decode_client(await self._take())
        except TimeoutError:
            _refuse(BAD_FRAME, "protocol", f"no hello within {HELLO_S:g} s")
        except ProtocolError as error:
            _refuse(BAD_FRAME, error.code, error.message)
        if not isinstance(frame, Hello):
            _refuse(BAD_FRAME, "protocol", "the first frame must be a hello")
        if frame.protocol != PROTOCOL_VERSION:
            _refuse(
                WRONG_VERSION,
                "version",
                f"this relay ({__version__}) speaks protocol {PROTOCOL_VERSION}, the runner ({frame.version[:40]}) "
                f"{frame.protocol}: run `relay-runner relay restart` with the newer one",
            )
        if not AGENT_ID.fullmatch(frame.agent_id) or not frame.instance_id:
            _refuse(BAD_FRAME, "bad-agent-id", f"{frame.agent_id[:80]!r} cannot be an agent's id")
        if not self._caller.may_be(frame.agent_id):
            _refuse(FORBIDDEN, "forbidden", f"this token lacks the scope agent:{frame.agent_id}")
        return frame

    async def _join(self, hello: Hello, bus_id: str) -> tuple[int, ...]:
        try:
            return (await self._store.join(hello, bus_id)).inherited
        except ClaimLost as error:
            current = await self._core.store.agent(hello.agent_id)
            raise _Refused(SUPERSEDED, Superseded(by=current.instance_id or "")) from error

    async def _put_decisions(self, agent_id: str) -> None:
        """Tell the answers that came while no bus was here, and those that the runner did not act on yet."""
        for permission in await self._store.permissions(PermissionQuery(agent_id=agent_id, open=True)):
            if (frame := frame_of(permission)) is not None:
                await self._put(encode(frame))

    async def _write(self, outbox: Outbox) -> None:
        while (frame := await outbox.take()) is not None:
            if self._core.tokens.is_over(self._caller):
                outbox.close(UNAUTHORIZED, "the token has expired")
                return
            await self._put(frame)

    async def _end(self, outbox: Outbox) -> None:
        """Wait for the end of the relay or of the token; the writer ends by itself."""
        while (left_s := self._caller.expires_at - self._core.clock()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, LOOK_S)):
                    await self._core.closing.wait()
                    outbox.close(GOING_AWAY, "the relay is shutting down")
                    return
        outbox.close(UNAUTHORIZED, "the token has expired")

    async def _read(self, hello: Hello) -> None:
        store = self._store
        while True:
            data = await self._take()
            try:
                frame = decode_client(data)
                if isinstance(frame, StatusFrame):
                    await store.put_status(hello.agent_id, hello.instance_id, frame.status)
                elif isinstance(frame, Heartbeat):
                    await store.heartbeat(hello.agent_id, hello.instance_id, frame.meta)
                elif frame is None:
                    self._core.metrics.unknown_frames += 1
            except ProtocolError as error:
                _refuse(BAD_FRAME, error.code, error.message)
            except ClaimLost:
                current = await self._core.store.agent(hello.agent_id)
                raise _Refused(SUPERSEDED, Superseded(by=current.instance_id or "")) from None
            except RelayUnauthorized:
                raise
            except RelayRunnerError as error:
                await self._put(encode(ErrorFrame(code=error.code, message=str(error))))

    async def _leave(self, outbox: Outbox) -> None:
        if outbox.closed is not None:
            code, reason = outbox.closed
            try:
                async with asyncio.timeout(LEAVE_S):
                    await self._send({"type": "websocket.close", "code": code, "reason": reason})
            except (OSError, TimeoutError) as error:
                log.debug("the bus of %s did not close in order: %r", outbox.agent_id, error)
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._core.store.leave(outbox.agent_id, outbox.bus_id)
        except (RelayRunnerError, TimeoutError) as error:
            log.warning("cannot note that the bus of %s closed: %r", outbox.agent_id, error)

    async def _take(self) -> str | bytes:
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            raise _Closed
        data: str | bytes = event.get("text") or event.get("bytes") or b""
        return data

    async def _put(self, frame: bytes) -> None:
        try:
            await self._send({"type": "websocket.send", "text": frame.decode()})
        except OSError as error:  # uvicorn's ClientDisconnected is one
            raise _Closed from error


def _refuse(code: int, word: str, message: str) -> NoReturn:
    raise _Refused(code, ErrorFrame(code=word, message=message, fatal=True))


async def _reject(send: Send, error: RelayRunnerError) -> None:
    """Answer the upgrade with an HTTP error."""
    body = encode(problem_of(error))
    status = status_of(error)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if isinstance(error, RelayUnauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
