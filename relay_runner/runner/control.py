"""The localhost control server: the provider's hooks and the agent's own tools talk to the runner here.

127.0.0.1 only, one port and one secret per provider process. Every route wants the secret as a bearer token, a
loopback Host and no browser's Origin; bodies are bounded. The agent's tools find the relay's own paths under
`/api/v1`, and what they send is sent as the agent, with the runner's token: the secret is good for nothing else.

The port is bound for as long as the program lives, by the shells that outlive the runner (`terminal.listener`): a
runner that adopts the program is given that very socket, with what waits in its backlog. Whoever can speak over a unix
socket does: the same server listens at one, in a folder that is this user's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import secrets
import select
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from random import SystemRandom
from typing import Any

from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from relay_runner.config import write_private
from relay_runner.config.sockets import listen_at, peer_uid
from relay_runner.errors import (
    ProtocolError,
    RelayNotFound,
    RelayRefused,
    RelayRunnerError,
    RelayUnavailable,
    TerminalError,
)
from relay_runner.http_limits import ACCEPTED, LimitedProtocol, limited
from relay_runner.lean import uvicorn
from relay_runner.log import hide
from relay_runner.protocol.calls import API
from relay_runner.protocol.control import Attach, ControlEndpoint, StatusAnswer, StatusPost
from relay_runner.protocol.shape import INNER_DEPTH, check_shape, pruned
from relay_runner.protocol.visible import visible_line
from relay_runner.protocol.wire import admit, convert, decode_foreign, encode
from relay_runner.providers.base import HookCall, HookReply, Process
from relay_runner.relay.base import Relay
from relay_runner.runner.group import task_group
from relay_runner.runner.proxy import proxy_routes

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below the ephemeral range of Linux: no outgoing connection takes our port while the runner is away."""
PORT_TRIES = 50
MAX_BODY_BYTES = 16 * 1024 * 1024
UPLOADS = f"{API}/attachments"
"""Passed on as it comes: the relay bounds it."""
MAX_STATUS_BYTES = 16 * 1024
"""A posted status is published whole, with every status of the agent."""
PROCESS_HEADER = "x-relay-process"
CLOSE_S = 2.0
BACKLOG = 128
"""How many hooks wait while no runner is here."""
SERVED_S = 10.0
"""How long a hook of the live process may wait for the runner to attach to it."""
LEFT = "left"
HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP


class ControlServer:
    """Listen for one agent; which process and which secret are good changes with every provider process."""

    def __init__(self, relay: Relay, file: Path, *, status: Callable[[], bytes], at: Path | None = None) -> None:
        """`at` is the unix socket to listen at besides."""
        self._file = file
        self._at = at
        self._status = status
        self.terminal: Callable[[], Attach | None] = lambda: None
        self.on_status: Callable[[StatusPost], StatusAnswer] = lambda post: StatusAnswer(accepted=False)
        """Takes what scripts inside the program say of it."""
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._process: Process | None = None
        self._serves = asyncio.Event()
        """Set while there is a process to pass hooks on to."""
        self.endpoint = ControlEndpoint(url="", port=0, secret="", provider_session_id="")
        app = Starlette(
            routes=[
                Route("/healthz", self._health, methods=["GET"]),
                Route("/status", self._get_status, methods=["GET"]),
                Route("/status", self._post_status, methods=["POST"]),
                Route("/terminal", self._get_terminal, methods=["GET"]),
                Route("/hooks/{name}", self._hook, methods=["POST"]),
                *proxy_routes(relay),
            ],
            exception_handlers={RelayRunnerError: _answer_error},
        )
        self._app = _Guard(app, lambda: self.endpoint)

    def bind(self, saved: ControlEndpoint | None, held: socket.socket | None = None) -> bool:
        """Take the port: the saved one for a process that lives already, else a free one; False: it was taken.

        `held` is the socket that was held for that process meanwhile, if it was.
        """
        if saved is not None:
            hide(saved.secret)
            if held is not None and held.getsockname()[:2] != (HOST, saved.port):
                log.warning("the kept socket is not that of the control port")
                held.close()
                held = None
            if found := held or _listen(saved.port):
                self._socket, self.endpoint = found, replace(saved, socket=self._path)
                write_private(self._file, encode(self.endpoint))  # the unix socket may be elsewhere now
                return True
        random = SystemRandom()
        for _ in range(PORT_TRIES):
            port = random.choice(PORTS)
            if found := _listen(port):
                self._socket = found
                self.endpoint = ControlEndpoint(
                    url=f"http://{HOST}:{port}", port=port, secret="", provider_session_id=""
                )
                return saved is None
        raise TerminalError(f"no free port between {PORTS.start} and {PORTS.stop} on {HOST}", hint="free some ports")

    def new_process(self) -> ControlEndpoint:
        """Make secret and id for a process about to start, and save them where its hooks look."""
        port = self.endpoint.port
        fresh = ControlEndpoint(
            url=f"http://{HOST}:{port}",
            port=port,
            secret=secrets.token_urlsafe(32),
            provider_session_id=uuid.uuid4().hex,
            socket=self._path,
        )
        hide(fresh.secret)
        write_private(self._file, encode(fresh))
        self.endpoint = fresh  # only now: while a full disk keeps the old file, who reads it must be able to ask
        return fresh

    @contextlib.contextmanager
    def serving(self, process: Process) -> Iterator[None]:
        """Pass hooks on to this process."""
        self._process = process
        self._serves.set()
        try:
            yield
        finally:
            self._process = None
            self._serves.clear()

    @property
    def listener(self) -> socket.socket | None:
        """The listening socket, for the terminal to hold open as long as the program lives."""
        return self._socket

    @property
    def _path(self) -> str | None:
        return str(self._at) if self._at is not None else None

    def leave(self) -> None:
        """Take no more connections: those that come from now on wait for the runner after this one."""
        for server in self._server.servers if self._server is not None else ():
            server.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve until the context is left."""
        assert self._socket is not None
        config = uvicorn.Config(
            self._app,
            http=limited(made=_Connection),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=1,
            backlog=ACCEPTED,
        )
        server = self._server = _Server(config)
        with self._socket, contextlib.ExitStack() as stack:
            sockets = [self._socket]
            if self._at is not None:
                stack.callback(self._at.unlink, missing_ok=True)
                sockets.append(stack.enter_context(_listen_at(self._at)))
            async with task_group() as group:
                group.create_task(server.serve(sockets=sockets), name="control")
                try:
                    yield
                finally:
                    server.should_exit = True

    # --- routes ---

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _get_status(self, request: Request) -> Response:
        return Response(self._status(), media_type="application/json")

    async def _get_terminal(self, request: Request) -> Response:
        found = self.terminal()
        if found is None:
            raise RelayNotFound("its terminal is not open", hint="try again when its program runs")
        return Response(encode(found), media_type="application/json")

    async def _post_status(self, request: Request) -> Response:
        body = await request.body()
        if len(body) > MAX_STATUS_BYTES:
            raise ProtocolError(f"a status has at most {MAX_STATUS_BYTES} bytes")
        check_shape(body, INNER_DEPTH)  # it is published inside the agent's status
        answer = self.on_status(admit(body, StatusPost))
        return Response(encode(answer), media_type="application/json")

    async def _hook(self, request: Request) -> Response:
        name = visible_line(request.path_params["name"], 80)
        body = await request.body()
        if getattr(request.state, LEFT, False):
            log.info("dropped hook %s: it gave up waiting for a runner", name)
            return JSONResponse({})
        ours = request.headers.get(PROCESS_HEADER) == self.endpoint.provider_session_id
        process = await self._served() if ours else None
        if process is None:
            log.info("dropped hook %s: it came from a foreign process", name)
            return JSONResponse({})
        payload = convert(_foreign(body or b"{}"), dict)
        gone = asyncio.Event()
        call = HookCall(name, payload, gone)
        reply = await _answer(request, gone, process.hook(call))
        return JSONResponse(dict(reply.body or {}), status_code=reply.status)

    async def _served(self) -> Process | None:
        """Return the process; a hook may be here before it: from a backlog, or of a program that starts quickly."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SERVED_S):
                await self._serves.wait()
        return self._process


def _foreign(body: bytes) -> Any:
    """Return what a hook says; what no answer could hold is left out, and not the whole hook with it."""
    found = decode_foreign(body)
    try:
        check_shape(body, INNER_DEPTH)
    except ProtocolError:
        return pruned(found)
    return found


async def _answer(request: Request, gone: asyncio.Event, work: Awaitable[HookReply]) -> HookReply:
    """Wait for the answer, and set `gone` when the caller hangs up meanwhile."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            continue
        gone.set()

    watcher = asyncio.ensure_future(watch())
    try:
        return await work
    finally:
        watcher.cancel()
        await asyncio.wait([watcher], timeout=CLOSE_S)


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RelayRunnerError)
    status = 503 if isinstance(error, RelayUnavailable) else 400
    if isinstance(error, RelayRefused):
        status = error.status
    return JSONResponse(
        {"error": {"code": error.code, "message": error.message, "hint": error.hint}}, status_code=status
    )


class _Guard:
    """Let nobody in without the secret, from a browser, or with a body without end."""

    def __init__(self, app: ASGIApp, endpoint: Callable[[], ControlEndpoint]) -> None:
        self._app = app
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        refusal = self._refusal(headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:
            await self._app(scope, receive if scope["path"] == UPLOADS else _bounded(receive), send)
        except (ClientDisconnect, ConnectionError) as error:
            log.debug("a caller hung up: %s", error)

    def _refusal(self, headers: dict[bytes, bytes]) -> Response | None:
        endpoint = self._endpoint()
        if headers.get(b"host", b"").decode("latin-1") not in (f"{HOST}:{endpoint.port}", f"localhost:{endpoint.port}"):
            return _refuse(403, "forbidden", "this server answers to its loopback name only")
        if b"origin" in headers:
            return _refuse(403, "forbidden", "this server does not answer browsers")
        given = headers.get(b"authorization", b"")
        if not endpoint.secret or not hmac.compare_digest(given, b"Bearer " + endpoint.secret.encode()):
            return _refuse(401, "unauthorized", "the secret is wrong or of an older process")
        return None


def _refuse(status: int, code: str, message: str) -> Response:
    return JSONResponse(
        {"error": {"code": code, "message": message, "hint": None}}, status_code=status, headers={"connection": "close"}
    )


def _bounded(receive: Receive) -> Receive:
    size = 0

    async def inner() -> dict[str, object]:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise ProtocolError(f"the body is larger than {MAX_BODY_BYTES} bytes")
        return dict(message)

    return inner


class _Connection(LimitedProtocol):
    """One connection: over the unix socket only this user's, and marked where the other side is gone already.

    It waited in the backlog while no runner was here, and what it says is as old as that.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection.family == socket.AF_UNIX:
            if peer_uid(connection) != os.getuid():
                log.warning("another user connected to the control socket")
                self.transport.abort()
            return
        watched = select.poll()
        watched.register(connection.fileno(), HUNG_UP)
        if watched.poll(0):
            self.app_state = {**self.app_state, LEFT: True}


class _Server(uvicorn.Server):
    """Leave the process's signals to the command line."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # uvicorn's number is how many are accepted at once, too


def _listen_at(path: Path) -> socket.socket:
    try:
        return listen_at(path, BACKLOG)
    except OSError as error:
        raise TerminalError(f"cannot listen on {path}: {error.strerror}") from error


def _listen(port: int) -> socket.socket | None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        return None
    return listener
