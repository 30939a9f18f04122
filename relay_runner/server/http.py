"""One HTTP call: who asks, what they ask, the answer, and every failure as one JSON object.

The routes of `routes` are served as plain ASGI applications: a `Request` and a `Response` object per call cost more
than everything else that a small post needs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from relay_runner.errors import RelayNotFound, RelayRefused, RelayRunnerError, RelayUnauthorized
from relay_runner.protocol.access import Caller
from relay_runner.protocol.calls import Problem, ProblemBody, problem_of, status_of
from relay_runner.protocol.wire import admit, encode
from relay_runner.server.core import Core
from relay_runner.server.store.base import Store

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""A body of 1 MiB whose every byte is escaped takes 6 MiB."""
MAX_DRAINED_BYTES = 64 * 1024 * 1024

Q = TypeVar("Q")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

NOBODY = Caller(subject="", scopes=frozenset())
"""Whoever calls what needs no token."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """What a route is given."""

    core: Core
    caller: Caller
    scope: Scope
    body: Any = None
    """The decoded body, of the type that the route takes."""
    receive: Receive | None = None
    """Where the body comes from, for a route that reads it as it arrives."""
    grace_s: float = 0.0

    @property
    def store(self) -> Store:
        """The store as this caller's: a token that was revoked since it was shown does nothing more."""
        return self.core.store if self.caller is NOBODY else self.core.store.under(self.caller, self.grace_s)

    @property
    def query(self) -> dict[str, str]:
        """The parameters after the question mark; one without a value is `true`."""
        text = self.scope["query_string"].decode("latin-1")
        return {name: value or "true" for name, value in parse_qsl(text, keep_blank_values=True)}

    def text(self, name: str) -> str:
        """Return a part of the path."""
        value: str = self.scope["path_params"][name]
        return value

    def number(self, name: str) -> int:
        """Return a part of the path that is a number; raise `RelayNotFound` where it is not."""
        text = self.text(name)
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise RelayNotFound(f"there is no {text[:40]!r}")
        return int(text)

    def header(self, name: bytes) -> str | None:
        """Return a header of the request."""
        return header(self.scope, name)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on: server-sent events."""

    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is not JSON."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class File:
    """An answer that is a file; its first bytes are read before the answer begins."""

    chunks: AsyncIterator[bytes]
    headers: Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the route table: it routes, and it is documented by `openapi`."""

    method: str
    path: str
    call: Callable[[Call], Awaitable[Any]]
    summary: str
    takes: Any = None
    gives: Any = None
    status: int = 200
    open: bool = False
    """Needs no token."""
    grace_s: float = 0.0
    """How long after its end a token is still good for this call."""
    optional_body: bool = False
    raw: bool = False
    """It reads the body itself, as it arrives; it is no JSON."""
    parameters: Mapping[str, str] | None = None
    """Query parameters, with what they mean."""


class Endpoint:
    """Serves one route."""

    def __init__(self, core: Core, route: Route) -> None:
        self._core = core
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except RelayRunnerError as error:
            await self._send(send, status_of(error), encode(problem_of(error)))
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            body = ProblemBody(error=Problem(code="internal", message="the relay failed", hint="see its log"))
            await self._send(send, 500, encode(body))
        else:
            await self._reply(answer, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Any:
        route = self._route
        caller = NOBODY if route.open else await authenticate(self._core, scope, route.grace_s)
        body = None
        if route.takes is not None:
            data = await read_body(scope, receive)
            body = route.takes() if route.optional_body and not data.strip() else admit(data, route.takes)
        return await route.call(Call(self._core, caller, scope, body, receive, route.grace_s))

    async def _reply(self, answer: Any, receive: Receive, send: Send) -> None:
        if isinstance(answer, Stream):
            self._core.metrics.requests[200] += 1
            await stream(self._core, answer, receive, send)
        elif isinstance(answer, File):
            self._core.metrics.requests[200] += 1
            await send_file(answer, send)
        elif isinstance(answer, Text):
            await self._send(send, 200, answer.content, answer.content_type)
        elif answer is None:
            await self._send(send, 204, b"")
        else:
            await self._send(send, self._route.status, encode(answer))

    async def _send(self, send: Send, status: int, body: bytes, content_type: str = "application/json") -> None:
        self._core.metrics.requests[status] += 1
        await send_answer(send, status, body, content_type, close=self._route.open)


async def send_answer(
    send: Send, status: int, body: bytes, content_type: str = "application/json", *, close: bool = False
) -> None:
    """Send a whole answer; only who showed a good token keeps the connection."""
    headers = [(b"content-length", str(len(body)).encode())]
    if body:
        headers.append((b"content-type", content_type.encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if close or status == 401:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_file(answer: File, send: Send) -> None:
    """Send a file as it is read."""
    await send({"type": "http.response.start", "status": 200, "headers": list(answer.headers)})
    async for chunk in answer.chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def header(scope: Scope, name: bytes) -> str | None:
    """Return a header of a request; `name` in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def query_of(given: Mapping[str, Any], type_: type[Q]) -> Q:
    """Return the parameters of a URL as a query; raise `RelayRefused` where they are none."""
    try:
        return msgspec.convert(given, type_, strict=False)
    except msgspec.ValidationError as error:
        raise RelayRefused(f"bad query: {error}", status=422) from error


async def authenticate(core: Core, scope: Scope, grace_s: float = 0.0) -> Caller:
    """Return who asks; raise `RelayUnauthorized` without a good token."""
    kind, _, token = (header(scope, b"authorization") or "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise RelayUnauthorized("a token is needed", hint="send it as `Authorization: Bearer TOKEN`")
    return await core.tokens.caller(token.strip(), grace_s=grace_s)


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Return the request's body; one that is too large is read to its end, so that the refusal is heard, not kept."""
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise RelayRefused("the call was broken off")
        chunk = event.get("body", b"")
        size += len(chunk)
        if size <= MAX_REQUEST_BYTES:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not event.get("more_body", False) or size > MAX_DRAINED_BYTES:
            break
    if size > MAX_REQUEST_BYTES:
        raise RelayRefused(f"the request is larger than {MAX_REQUEST_BYTES} bytes", status=413, code="body-too-large")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def body_chunks(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the request's body as it arrives."""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise RelayRefused("the call was broken off")
        if event.get("body"):
            yield event["body"]
        if not event.get("more_body", False):
            return


async def stream(core: Core, answer: Stream, receive: Receive, send: Send) -> None:
    """Send server-sent events until the caller hangs up or the relay ends."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def pump() -> None:
        async for chunk in answer.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def hung_up() -> None:
        while (await receive())["type"] != "http.disconnect":
            continue

    await race(pump(), hung_up(), core.closing.wait())
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def race(*contenders: Coroutine[Any, Any, Any]) -> None:
    """Run all until one ends, then cancel the others; raise what one of them raised."""
    tasks: list[asyncio.Task[Any]] = []

    def end(_: asyncio.Task[Any]) -> None:
        for task in tasks:
            task.cancel()

    try:
        async with asyncio.TaskGroup() as group:
            for contender in contenders:
                tasks.append(group.create_task(contender))
                tasks[-1].add_done_callback(end)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
