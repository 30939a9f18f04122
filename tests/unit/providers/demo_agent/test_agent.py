"""The demo agent as a person meets it, and how fast it comes up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from relay_runner.providers.demo import PROGRAM
from relay_runner.terminal.base import Key, Terminal
from relay_runner.terminal.tmux import TmuxTerminals
from tests.terminals import shown, sockets, spec, tmux

pytestmark = pytest.mark.anyio
__all__ = ["sockets", "tmux"]


async def enter(terminal: Terminal, line: str) -> None:
    await terminal.type(line)
    await terminal.press(Key.ENTER)


async def test_a_person_talks_to_it(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal = await tmux.open(spec(tmp_path, *PROGRAM))
    await shown(terminal, "demo>")
    await enter(terminal, "echo good morning")
    await shown(terminal, "\ngood morning\n")
    await enter(terminal, "help")
    await shown(terminal, "works N seconds first")
    await enter(terminal, "ask to go on")
    await shown(terminal, "Allow: to go on? [y/n]")
    await terminal.type("n")
    await shown(terminal, "denied: to go on")
    await enter(terminal, "/context")
    await shown(terminal, "[context]")
    await enter(terminal, "/clear")
    await shown(terminal, "[clear]")
    await enter(terminal, "recall")
    await shown(terminal, "\nnothing\n")
    await enter(terminal, "slow 60")
    await shown(terminal, "Esc stops it")
    await terminal.press(Key.ESCAPE)
    await shown(terminal, "[interrupted]")
    await terminal.press(Key.CTRL_D)
    assert (await terminal.wait_exit()).code == 0
    await terminal.close()


async def test_what_is_entered_while_it_works_comes_next(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal = await tmux.open(spec(tmp_path, *PROGRAM))
    await shown(terminal, "demo>")
    await enter(terminal, "slow 60")
    await shown(terminal, "working")
    await enter(terminal, "echo after that")
    await terminal.type("draft")
    await terminal.press(Key.CTRL_C)
    await shown(terminal, "\nafter that\n")
    await shown(terminal, "demo> draft")
    await terminal.terminate(grace_s=1)
    await terminal.close()


def test_it_wants_a_terminal() -> None:
    ended = subprocess.run(PROGRAM, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "wants a terminal" in ended.stderr


def test_it_loads_nothing_but_the_standard_library() -> None:
    code = "import sys, relay_runner.providers.demo_agent.__main__; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert not {"msgspec", "asyncio", "httpx", "libtmux", "pexpect"} & set(modules.split())
