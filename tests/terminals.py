"""Real terminals for tests: a tmux folder of the test's own, and every server in it ended afterwards, by its socket."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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
    for socket in folder.glob("*.sock"):
        subprocess.run(["tmux", "-S", str(socket), "kill-server"], check=False, capture_output=True, timeout=10)
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
