"""The life of one relay process: lock, port, server, relay.json, end.

lock ─► listen ─► open the store ─► token ─► relay.json ─► serve ─► SIGTERM ─► close buses ─► finish calls ─► close
"""

from __future__ import annotations

import asyncio
import fcntl
import getpass
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from relay_runner import __version__
from relay_runner.config import Paths, private_dir, write_private
from relay_runner.config.sockets import listen_at
from relay_runner.errors import ConfigError, ProtocolError
from relay_runner.http_limits import ACCEPTED, Limits, limited, raise_file_limit
from relay_runner.protocol.addresses import person_principal
from relay_runner.protocol.attachments import MAX_ATTACHMENT_BYTES
from relay_runner.protocol.calls import RelayFile
from relay_runner.protocol.messages import LEASE_S
from relay_runner.protocol.tokens import ADMIN, OPERATOR, SEND, TokenRequest
from relay_runner.protocol.wire import PROTOCOL_VERSION, decode, encode
from relay_runner.server.app import build
from relay_runner.server.core import Core
from relay_runner.server.gate import is_loopback
from relay_runner.server.store.sqlite import SqliteStore

LOOPBACK = "127.0.0.1"
OPERATOR_PROFILE = "relay-operator"
OPERATOR_TTL_S = 366 * 24 * 3600.0
KEEP_ALIVE_S = 75
"""Longer than clients keep an idle connection: the side that sends must be the side that closes."""
GRACE_S = 3
BACKLOG = 1024
SWITCH_INTERVAL_S = 0.0005
"""How long the event loop may keep the interpreter from the writer's thread, and the other way round."""

log = logging.getLogger(__name__)


def serve(
    paths: Paths,
    host: str = LOOPBACK,
    port: int | None = None,
    *,
    started_by: str = "person",
    max_attachment_bytes: int = MAX_ATTACHMENT_BYTES,
    lease_s: float = LEASE_S,
    ready: Callable[[RelayFile], None] | None = None,
) -> None:
    """Run the relay of `paths` in this process until SIGTERM or SIGINT.

    Without a `port` it takes the one it had last, or a free one. `ready` is called when it answers. Raise `ConfigError`
    where another relay runs for the same home, or the address cannot be used.
    """
    private_dir(paths.state)
    with _only_one(paths), _listening(paths, host, port) as listener:
        if not is_loopback(host):
            log.warning("the relay listens on %s: whoever reaches it there and has a token may use it", host)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        raise_file_limit()
        try:
            asyncio.run(_Life(paths, host, listener, started_by, max_attachment_bytes, lease_s, ready).run())
        finally:
            sys.setswitchinterval(0.005)


class _Life:
    """One run of the server."""

    def __init__(
        self,
        paths: Paths,
        host: str,
        listener: socket.socket,
        started_by: str,
        max_attachment_bytes: int,
        lease_s: float,
        ready: Callable[[RelayFile], None] | None,
    ) -> None:
        self._paths = paths
        self._listener = listener
        self._url = _url(host, listener.getsockname()[1])
        self._local_only = is_loopback(host)
        self._started_by = started_by
        self._max_attachment_bytes = max_attachment_bytes
        self._lease_s = lease_s
        self._ready = ready
        self._at: str | None = None

    async def run(self) -> None:
        store = SqliteStore(self._paths.relay_db, lease_s=self._lease_s)
        store.files.limit = self._max_attachment_bytes
        self._core = Core(store)
        self._server = Server(server_config(build(self._core, local_only=self._local_only)))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            async with self._core.running():
                with _near(self._paths) as near:
                    self._at = near.getsockname() if near is not None else None
                    listeners = [self._listener, *([near] if near is not None else [])]
                    await self._server.run_on(listeners, self._announce)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        log.info("the relay has ended")

    def _stop(self) -> None:
        if self._server.should_exit:
            self._server.force_exit = True
        self._server.should_exit = True
        self._core.closing.set()

    async def _announce(self) -> None:
        """Write relay.json with a fresh operator token; the one before it is worthless from now on."""
        before = read_relay_file(self._paths.relay_json)
        login = getpass.getuser()
        request = TokenRequest(
            subject=person_principal(login),
            scopes=(SEND, OPERATOR, ADMIN),
            profile_id=OPERATOR_PROFILE,
            ttl_s=OPERATOR_TTL_S,
        )
        grant = await self._core.tokens.mint(request)
        file = RelayFile(
            url=self._url,
            operator_token=grant.token,
            login=login,
            relay_id=self._core.store.relay_id,
            pid=os.getpid(),
            process_started=_process_started(),
            version=__version__,
            protocol=PROTOCOL_VERSION,
            started_at=self._core.started_at,
            started_by=self._started_by,
            socket=self._at,
        )
        write_private(self._paths.relay_json, encode(file))
        if before is not None:
            await self._core.tokens.retire(before.operator_token)
        log.info("the relay %s listens on %s", __version__, self._url)
        if self._ready is not None:
            self._ready(file)


class Server(uvicorn.Server):
    """A uvicorn server whose signals are ours, and that says when it answers."""

    _announce: Callable[[], Any] | None = None

    async def run_on(self, listeners: list[socket.socket], announce: Callable[[], Any]) -> None:
        """Serve on bound sockets until `should_exit`; `announce` is awaited once it listens."""
        self._announce = announce
        await self.serve(sockets=listeners)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: the ends of a relay are in order, and exit with 0."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then announce."""
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # uvicorn's number is how many are accepted at once, too
        if self._announce is not None:
            await self._announce()


def server_config(app: Any, limits: Limits | None = None) -> uvicorn.Config:
    """Return how uvicorn is to serve the relay."""
    return uvicorn.Config(
        app,
        http=limited(limits),  # type: ignore[arg-type]
        ws="websockets-sansio",
        ws_max_size=16 * 1024 * 1024,
        ws_per_message_deflate=False,
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=ACCEPTED,
    )


def read_relay_file(path: Path) -> RelayFile | None:
    """Return what relay.json says, or None where there is none that can be read."""
    try:
        return decode(path.read_bytes(), RelayFile)
    except (OSError, ProtocolError):
        return None


@contextmanager
def _only_one(paths: Paths) -> Iterator[None]:
    """Hold the lock of the one relay of this home; the kernel takes it back from a process that dies."""
    descriptor = os.open(paths.state / "relay.serving", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file = read_relay_file(paths.relay_json)
            who = f"as process {file.pid} on {file.url}" if file is not None else "and is just starting"
            raise ConfigError(
                f"a relay already runs for {paths.state}, {who}", hint="`relay-runner relay stop` ends it"
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _listening(paths: Paths, host: str, port: int | None) -> Iterator[socket.socket]:
    """Bind the port asked for; else the last one, so that addresses in running programs stay good; else a free one."""
    before = read_relay_file(paths.relay_json)
    wanted = [port] if port is not None else [_port_of(before.url), 0] if before is not None else [0]
    listener = None
    for candidate in wanted:
        try:
            listener = bind(host, candidate)
            break
        except OSError as error:
            log.warning("cannot listen on %s port %s: %s", host, candidate, error.strerror or error)
            failure = error
    if listener is None:
        raise ConfigError(f"cannot listen on {host} port {wanted[0]}: {failure.strerror or failure}") from failure
    with listener:
        yield listener


@contextmanager
def _near(paths: Paths) -> Iterator[socket.socket | None]:
    """Listen at the unix socket for this user's programs; None where there can be none: they have the port."""
    try:
        path = paths.relay_socket()
        listener = listen_at(path, BACKLOG)
    except (ConfigError, OSError) as error:
        log.warning("cannot offer a unix socket to this user's programs: %s", error)
        yield None
        return
    with listener:
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise `OSError` where the address cannot be used."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    # The protocol has to be named: asyncio turns Nagle's delay off only where it reads TCP there.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _port_of(url: str) -> int:
    port = url.rpartition(":")[2]
    return int(port) if port.isdigit() else 0


def _url(host: str, port: int) -> str:
    if host in ("", "0.0.0.0", "::"):  # every address of the machine: its own programs use loopback
        host = LOOPBACK
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _process_started() -> int:
    stat = Path("/proc/self/stat").read_text(encoding="utf-8")
    return int(stat.rpartition(")")[2].split()[19])
