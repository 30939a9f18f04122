"""The client's end of the bus: one WebSocket, from its hello to its end.

The library's own machinery (its reader, its pings) lives inside the connection; what it raises becomes ours here.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import websockets.asyncio.client as ws
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from relay_runner import __version__
from relay_runner.errors import (
    ClaimLost,
    ProtocolError,
    RelayRefused,
    RelayRunnerError,
    RelayUnauthorized,
    RelayUnavailable,
)
from relay_runner.protocol.calls import BUS, ProblemBody, error_of
from relay_runner.protocol.frames import (
    ClientFrame,
    ErrorFrame,
    Hello,
    ServerFrame,
    Superseded,
    Welcome,
    decode_server,
)
from relay_runner.protocol.wire import decode, encode
from relay_runner.relay.endpoint import Endpoint
from relay_runner.relay.wire import CONNECT_S, Wire

log = logging.getLogger(__name__)

WELCOME_S = 10.0
CLOSE_S = 2.0
PING_S = 20.0
MAX_FRAME = 16 * 1024 * 1024
UNAUTHORIZED = 4401
FORBIDDEN = 4403


class WebSocketBus:
    """Implements `relay.base.Bus`."""

    def __init__(self, socket: ws.ClientConnection, welcome: Welcome) -> None:
        self._socket = socket
        self._welcome = welcome
        self.unknown_frames = 0

    @property
    def welcome(self) -> Welcome:
        """What the relay answered to our hello."""
        return self._welcome

    async def send(self, frame: ClientFrame) -> None:
        """Send one frame; raise `RelayUnavailable` when the connection is gone."""
        try:
            await self._socket.send(encode(frame).decode())
        except ConnectionClosed as error:
            raise _ended(error) from error

    async def __aiter__(self) -> AsyncIterator[ServerFrame]:
        while True:
            try:
                data = await self._socket.recv()
            except ConnectionClosed as error:
                raise _ended(error) from error
            try:
                frame = decode_server(data)
            except ProtocolError as error:
                # It costs this frame, not the bus: what it said is read over HTTP, which comes round every 20 s.
                log.error("skipped a frame from the relay: %s", error)
                continue
            if frame is None:
                self.unknown_frames += 1
            else:
                yield frame


@asynccontextmanager
async def connect(wire: Wire, hello: Hello) -> AsyncIterator[WebSocketBus]:
    """Open the bus and wait for the welcome; the endpoint is asked anew for every connection.

    Raise `ClaimLost` where a newer instance of the agent took over before.
    """
    endpoint = await wire.endpoint(fresh=True)
    socket = await _dial(endpoint)
    try:
        yield WebSocketBus(socket, await _greet(socket, hello))
    finally:
        await socket.close()


class _Dial(ws.connect):
    """Connects to one place only: a redirect would take the token elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow nothing."""
        return exc


async def _dial(endpoint: Endpoint) -> ws.ClientConnection:
    options: dict[str, Any] = {"proxy": None} if endpoint.is_local else {}
    if endpoint.socket is not None:
        options.update(unix=True, path=endpoint.socket)
    if endpoint.url.startswith("https:"):
        options["ssl"] = ssl.create_default_context()
    try:
        return await _Dial(
            endpoint.bus_url + BUS,
            additional_headers={"Authorization": f"Bearer {endpoint.token}"},
            user_agent_header=f"relay-runner/{__version__}",
            compression=None,
            max_size=MAX_FRAME,
            open_timeout=CONNECT_S,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=CLOSE_S,
            **options,
        )
    except InvalidStatus as error:
        raise _rejected(endpoint, error) from error
    except InvalidURI as error:
        raise RelayRefused(f"not a relay URL: {endpoint.url!r}") from error
    except InvalidMessage as error:
        if isinstance(error.__cause__, EOFError | OSError):  # it went away in the middle of the handshake
            raise RelayUnavailable(f"the relay at {endpoint.url} hung up") from error
        raise ProtocolError(f"{endpoint.url} is not a relay ({error})", hint="check the relay's URL") from error
    except InvalidHandshake as error:
        raise ProtocolError(f"{endpoint.url} is not a relay ({error})", hint="check the relay's URL") from error
    except (OSError, TimeoutError, WebSocketException) as error:
        raise RelayUnavailable(f"no relay answers at {endpoint.url}", hint=str(error) or None) from error


async def _greet(socket: ws.ClientConnection, hello: Hello) -> Welcome:
    try:
        await socket.send(encode(hello).decode())
        async with asyncio.timeout(WELCOME_S):
            while True:
                frame = decode_server(await socket.recv())
                if isinstance(frame, Welcome):
                    return frame
                if isinstance(frame, Superseded):
                    raise _superseded(hello, frame)
                if isinstance(frame, ErrorFrame):
                    raise _refused(frame)
    except ConnectionClosed as error:
        raise _ended(error) from error
    except TimeoutError as error:
        raise RelayUnavailable(f"the relay did not answer the hello within {WELCOME_S:g} s") from error


def _superseded(hello: Hello, frame: Superseded) -> ClaimLost:
    return ClaimLost(f"a newer runner of {hello.agent_id} took over (instance {frame.by})")


def _refused(frame: ErrorFrame) -> RelayRunnerError:
    if frame.code == "forbidden":
        return RelayUnauthorized(frame.message, status=403, code=frame.code)
    if frame.code in ("unauthorized", "token-expired", "token-revoked"):
        return RelayUnauthorized(frame.message, code=frame.code)
    if frame.code == "store":
        return RelayUnavailable(frame.message)
    return RelayRefused(frame.message, code=frame.code)


def _rejected(endpoint: Endpoint, error: InvalidStatus) -> RelayRunnerError:
    status = error.response.status_code
    try:
        problem = decode(bytes(error.response.body or b""), ProblemBody).error
    except ProtocolError:
        if status >= 500:
            return RelayUnavailable(f"{endpoint.url} answered {status}")
        if 300 <= status < 400:
            target = error.response.headers.get("Location", "elsewhere")[:200]
            return RelayRefused(
                f"{endpoint.url} sends us on to {target}", hint="use the relay's own URL", status=status
            )
        return ProtocolError(f"{endpoint.url} is not a relay (it answered {status})", hint="check the relay's URL")
    if status >= 500:
        return RelayUnavailable(problem.message, hint=problem.hint)
    return error_of(status, problem)


def _ended(error: ConnectionClosed) -> RelayRunnerError:
    """Return why a bus ended: a lost token is not a lost connection."""
    close = error.rcvd
    if close is not None and close.code in (UNAUTHORIZED, FORBIDDEN):
        return RelayUnauthorized(close.reason or "the relay no longer takes the token")
    reason = f"{close.reason or 'no reason given'} ({close.code})" if close is not None else "the connection broke"
    return RelayUnavailable(f"the bus ended: {reason}")
