"""The relay of this machine: found, started by itself on first use, watched and ended by its files and its process.

    relay.json ──► does it answer? ──yes──► use it
                        │ no
                   start lock ──► does it answer now? ──no──► spawn, wait until it says `ready` on a pipe

Ten processes that ask at once get one relay: the lock lets one start it, and the server's own lock lets one run.
"""

from __future__ import annotations

import asyncio
import fcntl
import http.client
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from relay_runner.config import Paths, private_dir, scrub, sockets, write_private
from relay_runner.errors import ConfigError, ProtocolError, RelayRefused, RelayUnavailable
from relay_runner.protocol.calls import Health, RelayFile
from relay_runner.protocol.wire import PROTOCOL_VERSION, decode, encode
from relay_runner.relay.endpoint import Endpoint, EndpointSource

START_S = 20.0
STOP_S = 10.0
HEALTH_S = 2.0
LOCK_POLL_S = 0.02
MAX_LOG_BYTES = 5 * 1024 * 1024
TAIL_LINES = 5


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """What is known of this machine's relay, whether it answers or not."""

    running: bool
    """Its process lives."""
    health: Health | None
    """What it answers; None where it does not."""
    file: RelayFile | None
    """What it wrote of itself last; None where no relay ever ran here."""


async def ensure(paths: Paths) -> Endpoint:
    """Return the running relay, started if need be; raise `RelayUnavailable` with the reason where it does not come."""
    return await asyncio.to_thread(_ensure, paths, True)


def source(paths: Paths) -> EndpointSource:
    """Return where the relay is for a client that reconnects: it is started again, unless it was stopped on purpose."""

    async def current() -> Endpoint:
        return await asyncio.to_thread(_ensure, paths, False)

    return current


async def status(paths: Paths) -> RelayStatus:
    """Return what is known of the relay."""
    return await asyncio.to_thread(_status, paths)


async def stop(paths: Paths, *, timeout_s: float = STOP_S) -> bool:
    """End the relay, in order if it can, by force after `timeout_s`; return False where none ran.

    Clients that lose it leave it stopped; the next command that needs a relay starts it.
    """
    return await asyncio.to_thread(_stop, paths, timeout_s)


def read_file(paths: Paths) -> RelayFile | None:
    """Return what relay.json says, or None where there is none that can be read."""
    try:
        return decode(paths.relay_json.read_bytes(), RelayFile)
    except (OSError, ProtocolError):
        return None


def _status(paths: Paths) -> RelayStatus:
    file = read_file(paths)
    if file is None:
        return RelayStatus(running=False, health=None, file=None)
    return RelayStatus(running=_alive(file), health=_health(file), file=file)


def _stop(paths: Paths, timeout_s: float) -> bool:
    if read_file(paths) is None:
        return False
    with _start_lock(paths):
        file = read_file(paths)
        if file is None:
            return False
        write_private(paths.relay_json, encode(replace(file, stopped=True)))
        return _end(file, timeout_s)


def _ensure(paths: Paths, revive: bool) -> Endpoint:
    try:
        return _found_or_started(paths, revive)
    except OSError as error:  # too many open files, say, or a full disk: it may do the next time
        raise RelayUnavailable(f"the relay cannot be looked for: {error}") from error


def _found_or_started(paths: Paths, revive: bool) -> Endpoint:
    found = _answering(paths)
    if found is not None:
        return found
    file = read_file(paths)
    if file is not None and file.stopped and not revive:
        raise RelayUnavailable("the relay was stopped", hint="`relay-runner relay serve` starts it")
    private_dir(paths.state)
    with _start_lock(paths):
        found = _answering(paths)
        if found is not None:
            return found
        _spawn(paths)
        found = _answering(paths)
    if found is None:
        raise RelayUnavailable("the relay started and ended again", hint=f"see {paths.relay_log}")
    return found


def _answering(paths: Paths) -> Endpoint | None:
    """Return the relay if it answers, None if it is dead; raise where it lives and does not answer."""
    file = read_file(paths)
    if file is None or not _alive(file):
        return None
    if file.protocol != PROTOCOL_VERSION:
        raise RelayRefused(
            f"the running relay ({file.version}) speaks protocol {file.protocol}, this program {PROTOCOL_VERSION}",
            hint="run `relay-runner relay restart`",
            code="version",
        )
    if _health(file) is not None:
        near = file.socket if file.socket is not None and sockets.reachable(Path(file.socket)) else None
        return Endpoint(file.url, file.operator_token, near)
    if not _alive(file):
        return None
    raise RelayUnavailable(
        f"the relay (process {file.pid}) runs but does not answer on {file.url}",
        hint="run `relay-runner relay restart`",
    )


def _health(file: RelayFile) -> Health | None:
    parts = urlsplit(file.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=HEALTH_S)
    try:
        connection.request("GET", "/healthz")
        answer = msgspec.json.decode(connection.getresponse().read(), type=Health)
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        return None
    finally:
        connection.close()
    return answer if answer.relay_id == file.relay_id else None


@contextmanager
def _start_lock(paths: Paths) -> Iterator[None]:
    """Hold the lock under which the relay is started and stopped."""
    deadline = time.monotonic() + START_S + STOP_S
    descriptor = os.open(paths.relay_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise RelayUnavailable(
                        "another process has been starting the relay for half a minute", hint=f"see {paths.relay_log}"
                    ) from error
                time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _spawn(paths: Paths) -> None:
    """Start the server in the background and return once it answers; raise `RelayUnavailable` with what it said."""
    log_from = _rotate(paths.relay_log)
    reader, writer = os.pipe()
    command = [sys.executable, "-X", "utf8", "-P", "-m", "relay_runner.server", "--home", str(paths.state)]
    command += ["--started-by", "client", "--detach", "--ready-fd", str(writer)]
    try:
        with os.fdopen(os.open(paths.relay_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
                start_new_session=True,
                env=scrub(os.environ),
                cwd="/",
                umask=0o077,
                timeout=START_S,
                check=False,
            )
        os.close(writer)
        writer = -1
        said = _read_line(reader, START_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise RelayUnavailable(f"the relay cannot be started: {error}") from error
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if said is None:
        raise RelayUnavailable(f"the relay did not come up within {START_S:g} s", hint=f"see {paths.relay_log}")
    if not said:
        raise RelayUnavailable(f"the relay did not start: {_tail(paths.relay_log, log_from)}")


def _read_line(descriptor: int, timeout_s: float) -> bytes | None:
    """Return what the pipe says: empty when its other end was closed without a word, None when time is up."""
    ready, _, _ = select.select([descriptor], [], [], timeout_s)
    return os.read(descriptor, 64) if ready else None


def _rotate(log: Path) -> int:
    """Put a log that grew large aside; return where the next line will stand."""
    try:
        size = log.stat().st_size
        if size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
            return 0
    except FileNotFoundError:
        return 0
    return size


def _tail(log: Path, start: int) -> str:
    with suppress(OSError):
        with log.open("rb") as file:
            file.seek(start)
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
        told = [line.removeprefix("relay-runner: ") for line in lines if line.startswith("relay-runner: ")]
        return told[-1] if told else " / ".join(lines[-TAIL_LINES:]) or f"it said nothing in {log}"
    return f"see {log}"


def _alive(file: RelayFile) -> bool:
    """Say whether the process that wrote relay.json still runs; a zombie does not, nor another one with its pid."""
    try:
        fields = Path(f"/proc/{file.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZXx" and int(fields[19]) == file.process_started


def _end(file: RelayFile, timeout_s: float) -> bool:
    """End the process that wrote relay.json, and wait for it."""
    try:
        descriptor = os.pidfd_open(file.pid)
    except ProcessLookupError:
        return False
    try:
        if not _alive(file):  # asked after the pidfd was opened: it cannot mean another process any more
            return False
        for number, wait_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, timeout_s)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if select.select([descriptor], [], [], wait_s)[0]:
                return True
    except PermissionError as error:
        raise ConfigError(f"the relay (process {file.pid}) belongs to somebody else") from error
    finally:
        os.close(descriptor)
    raise RelayUnavailable(f"the relay (process {file.pid}) cannot be ended")
