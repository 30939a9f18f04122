"""One connection to an app-server: JSON-RPC, one message per WebSocket text frame, over a unix socket.

What the server asks of its clients (approvals above all) goes to every one of them and waits for the first answer; a
later one it ignores without a word. Ids of such requests have a namespace of their own: they start at 0 with every
server, and are the same for every client and on every connection to it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from relay_runner.errors import ProviderError
from relay_runner.providers.beside import beside
from relay_runner.providers.codex.failures import Kind

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

CONNECT_S = 5.0
REQUEST_S = 30.0
CLOSE_S = 1.0
NOT_KNOWN = -32601
BROKE = f"{Kind.PROTOCOL_ERROR}: the connection to Codex broke"
Notice = Callable[[str, Mapping[str, Any]], None]
"""Takes a notification's method and parameters at once; never blocks or raises."""
RequestId = int | str


@dataclass(frozen=True, slots=True)
class Request:
    """What the server asks of its clients."""

    id: RequestId
    method: str
    params: Mapping[str, Any]

    @property
    def thread_id(self) -> str:
        """The thread that it is about."""
        return str(self.params.get("threadId"))


Asked = Callable[[Request], None]
"""Takes what the server asks at once; never blocks or raises."""


class Disconnected(ProviderError):
    """There is no connection, or it broke before the answer came: what was asked may have been done."""

    retryable = True


class Refused(ProviderError):
    """The server answered by an error: what was asked was not done."""


class Client:
    """An open connection; `closed` is set when it is over."""

    def __init__(self, connection: ClientConnection, notice: Notice, asked: Asked) -> None:
        self._connection = connection
        self._notice = notice
        self._asked = asked
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.closed = asyncio.Event()

    async def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float = REQUEST_S) -> dict[str, Any]:
        """Ask and return the result; raise `Refused`, or `Disconnected` where nobody knows what became of it."""
        id = next(self._ids)
        answer = self._waiting[id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._send({"id": id, "method": method, "params": params})
                result: dict[str, Any] = await answer
                return result
        except TimeoutError:
            raise Disconnected(f"{Kind.TIMEOUT}: Codex did not answer {method} within {timeout_s:g} s") from None
        finally:
            self._waiting.pop(id, None)

    async def notify(self, method: str) -> None:
        """Tell, and expect no answer."""
        await self._send({"method": method})

    async def answer(self, id: RequestId, result: Mapping[str, Any]) -> None:
        """Answer what the server asked; raise `Disconnected` where it cannot have got it."""
        await self._send({"id": id, "result": result})

    async def refuse(self, id: RequestId, reason: str) -> None:
        """Say that what the server asked cannot be answered."""
        await self._send({"id": id, "error": {"code": NOT_KNOWN, "message": reason}})

    async def _send(self, message: Mapping[str, Any]) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(msgspec.json.encode(message).decode())
        except ConnectionClosed as error:
            raise Disconnected(BROKE) from error

    async def read(self) -> None:
        """Take what the server says until it hangs up."""
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                self._take(await self._connection.recv())
        except ConnectionClosed:
            log.debug("Codex hung up")
        finally:
            self.closed.set()
            for answer in self._waiting.values():
                if not answer.done():
                    _fail(answer, Disconnected(BROKE))

    def _take(self, data: str | bytes) -> None:
        try:
            message = msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError):
            log.warning("%s: Codex sent a line that is not JSON, or is nested too deep", Kind.JSON_PARSE_ERROR)
            return
        if not isinstance(message, dict):
            return
        method, params = message.get("method"), message.get("params")
        if isinstance(method, str):
            params = params if isinstance(params, dict) else {}
            if "id" in message:
                self._asked(Request(message["id"], method, params))
            else:
                self._notice(method, params)
            return
        answer = self._waiting.get(message.get("id", 0))
        if answer is None or answer.done():
            return
        if (error := message.get("error")) is not None:
            _fail(answer, Refused(str(error.get("message", error) if isinstance(error, dict) else error)))
        else:
            result = message.get("result")
            answer.set_result(result if isinstance(result, dict) else {})


def _fail(answer: asyncio.Future[dict[str, Any]], error: ProviderError) -> None:
    """Let who waits for the answer have this error; nobody does where it could not even be sent."""
    answer.set_exception(error)
    answer.exception()


@asynccontextmanager
async def opened(socket: Path, notice: Notice, asked: Asked = lambda request: None) -> AsyncIterator[Client]:
    """Connect; raise `Disconnected` where nobody listens (yet). What is asked is left to others by default."""
    from websockets.asyncio.client import unix_connect
    from websockets.exceptions import WebSocketException

    try:
        # The server makes the socket a link to a shorter path: the system allows 107 bytes.
        # No keep-alive: a stopped or busy server on this machine is not a lost one.
        connection = await unix_connect(
            _link_target(socket), "ws://localhost/", compression=None, max_size=None, ping_interval=None,
            open_timeout=CONNECT_S, close_timeout=CLOSE_S,
        )  # fmt: skip
    except (OSError, WebSocketException) as error:
        raise Disconnected(f"Codex does not answer at {socket}") from error
    client = Client(connection, notice, asked)
    try:
        async with beside(client.read()):
            yield client
    finally:
        await connection.close()


def _link_target(socket: Path) -> str:
    return os.path.realpath(socket)
