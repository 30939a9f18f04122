"""How a listening socket outlives its runner: the shells that outlive the program hold it, and pass it on when asked.

A port that only the runner binds is free as soon as the runner is dead, and whoever binds it then gets the secrets of
a program that lives on. So the start script has the same socket open, as descriptor 9, for as long as its program runs:
nobody else can bind the port, and who connects meanwhile waits in its backlog for the next runner.

    start    the runner binds and listens, and opens a door: a unix socket in its 0700 folder
             the terminal runs `pass_fd take DOOR 9 sh start.sh`: it receives the socket, and becomes the shell
    live     sh, sh (waits for the program), sh (the keeper: waits at a named pipe); the program itself has no 9
    adopt    the next runner writes the name of its own door into the pipe; the keeper runs `pass_fd give DOOR 9`
    end      the program ends, the shell ends the keeper and itself: the port is free

The socket is bound before it is passed on and passed on before the program starts, so that there is no instant at
which the program lives and the port is free. A runner that dies before that leaves a shell that starts nothing. A
keeper that was killed cannot answer, but the two other shells still hold the port.

Nothing but shells stays: a keeper costs 0.1 MiB (proportional set size, dash; the fork shares the rest), where a Python
of its own would cost 4. tmux passes no descriptors on, which is why the terminal cannot simply inherit it, and the
rights of a debugger (`pidfd_getfd`) are refused in many containers.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from relay_runner.errors import TerminalError
from relay_runner.terminal import processes
from relay_runner.terminal.base import SavedTerminal
from relay_runner.terminal.pass_fd import peer_uid

HELD_AS = 9
"""The last descriptor that every shell can name."""
PASS_S = 10.0
KNOCK_S = 2.0
"""How long a keeper may take to wait at its pipe again."""
_POLL_S = 0.01
_MARK = b"x"


class Door:
    """A unix socket at which one listening socket is passed, to or from a process of the same user."""

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.path = path
        self._door = listener

    async def give(self, listener: socket.socket) -> None:
        """Pass `listener` to whoever comes; raise `TerminalError` when nobody does."""
        with await self._visitor() as visitor:
            try:
                socket.send_fds(visitor, [_MARK], [listener.fileno()])
            except OSError as error:
                raise TerminalError(f"cannot pass the control port on: {error.strerror}") from error

    async def take(self) -> socket.socket:
        """Return the listening socket that somebody passes; raise `TerminalError` when nobody does."""
        with await self._visitor() as visitor:
            loop, received = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(visitor, received.set)
            try:
                async with asyncio.timeout(PASS_S):
                    await received.wait()
                _, descriptors, _, _ = socket.recv_fds(visitor, 1, 1)
            except (OSError, TimeoutError) as error:
                raise TerminalError("the control port was not passed on") from error
            finally:
                loop.remove_reader(visitor)
        if not descriptors:
            raise TerminalError("the control port was not passed on")
        os.set_inheritable(descriptors[0], False)
        taken = socket.socket(fileno=descriptors[0])
        if not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            taken.close()
            raise TerminalError("the descriptor passed on is not a listening socket")
        return taken

    async def _visitor(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PASS_S):
                while True:
                    visitor, _ = await loop.sock_accept(self._door)
                    if peer_uid(visitor) == os.getuid():
                        visitor.setblocking(False)
                        return visitor
                    visitor.close()
        except TimeoutError:
            raise TerminalError(f"the control port was not passed on within {PASS_S:g} s") from None


@contextmanager
def door(folder: Path) -> Iterator[Door]:
    """Open a door in `folder`, which is private, and close it at the end."""
    path = folder / f".{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(path))
            listener.listen(4)
        except OSError as error:
            raise TerminalError(f"cannot make a socket in {folder}: {error.strerror}") from error
        listener.setblocking(False)
        try:
            yield Door(path, listener)
        finally:
            path.unlink(missing_ok=True)


def pipe(folder: Path, name: str) -> Path:
    """Make the named pipe at which the keeper of the terminal `name` waits, and return it."""
    path = folder / f"{sha256(name.encode()).hexdigest()[:16]}.ask"
    try:
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
    except OSError as error:
        raise TerminalError(f"cannot make a named pipe in {folder}: {error.strerror}") from error
    return path


async def asked_for(saved: SavedTerminal, folder: Path | None) -> socket.socket | None:
    """Return the socket that is kept for a program; None where none is, or its keeper does not pass it on."""
    if saved.keeper is None or folder is None or not processes.runs(saved.process):
        return None
    with door(folder) as opened:
        if not await _knock(Path(saved.keeper), opened.path):
            return None
        try:
            return await opened.take()
        except TerminalError:
            return None


async def _knock(keeper: Path, door: Path) -> bool:
    """Tell a keeper where to pass its socket; False where none waits at its pipe."""
    deadline = time.monotonic() + KNOCK_S
    while keeper.is_fifo():  # noqa: ASYNC240 - it blocks on nothing
        try:
            # It fails where nobody reads, instead of waiting for a keeper that is dead.
            descriptor = os.open(keeper, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "wb", buffering=0) as written:
                written.write(os.fsencode(door) + b"\n")
            return True
        except OSError as error:
            if error.errno not in (errno.ENXIO, errno.EPIPE) or time.monotonic() > deadline:
                return False
        await asyncio.sleep(_POLL_S)
    return False
