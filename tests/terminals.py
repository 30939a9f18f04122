"""Real terminals for tests: a tmux folder of the test's own, and every server in it ended afterwards, by its socket."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from relay_runner.terminal.base import Terminal, TerminalSpec
from relay_runner.terminal.tmux import TmuxTerminals

PATIENCE_S = 20.0


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A short folder for tmux sockets (tmp_path is too long for one)."""
    folder = Path(tempfile.mkdtemp(prefix="rr-", dir="/tmp"))
    folder.chmod(0o700)
    yield folder
    for path in folder.glob("*.sock"):
        subprocess.run(["tmux", "-S", str(path), "kill-server"], check=False, capture_output=True, timeout=10)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def tmux(sockets: Path) -> AsyncIterator[TmuxTerminals]:
    """Terminals in tmux servers of this test."""
    yield TmuxTerminals(sockets)


def spec(folder: Path, *argv: str, name: str = "test", env: dict[str, str] | None = None) -> TerminalSpec:
    """Return a plain spec that runs `argv` in `folder`."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    environment = {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", **(env or {})}
    return TerminalSpec(argv=argv, env=environment, cwd=folder, run_dir=folder / f"run-{name}", name=name)


def listening() -> socket.socket:
    """Return a socket that listens at a free port."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen(5)
    return made


def bindable(port: int) -> bool:
    """Say whether anybody could take this port, by every option that there is to share one."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):
            with socket.socket(family) as other:
                if family == socket.AF_INET6:
                    other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                for option in options:
                    other.setsockopt(socket.SOL_SOCKET, option, 1)
                with suppress(OSError):
                    other.bind((host, port))
                    other.listen()
                    return True
    return False


def connected(port: int) -> bool:
    """Say whether the kernel has a connection to this port of 127.0.0.1 that nobody accepted yet, or somebody did."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any((fields[1], fields[3]) == (f"0100007F:{port:04X}", "01") for fields in map(str.split, lines))


async def until(condition: Callable[[], bool | Awaitable[bool]], *, patience_s: float = PATIENCE_S) -> None:
    """Return when `condition` holds; fail after `patience_s`."""
    async with asyncio.timeout(patience_s):
        while True:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.02)


async def shown(terminal: Terminal, text: str) -> None:
    """Return when `text` is on the terminal's screen; fail with what is there instead."""

    async def there() -> bool:
        return text in (await terminal.capture()).text

    try:
        await until(there)
    except TimeoutError:
        raise AssertionError(f"{text!r} is not on the screen:\n{(await terminal.capture()).tail(40)}") from None


def server_pid(terminal: Terminal) -> int:
    """Return the process id of the terminal's tmux server."""
    command = ["tmux", "-S", str(terminal.saved.socket), "display-message", "-p", "#{pid}"]
    return int(subprocess.run(command, capture_output=True, check=True, timeout=20).stdout)
