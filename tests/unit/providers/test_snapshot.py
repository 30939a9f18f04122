"""What goes into the log of a program that is stuck."""

from __future__ import annotations

import pytest

from relay_runner.errors import TerminalError
from relay_runner.providers.snapshot import snapshot
from relay_runner.terminal.base import TAIL_CHARS
from tests.unit.providers.claude.box import Box

pytestmark = pytest.mark.anyio


async def test_it_is_the_screen_after_what_the_program_said() -> None:
    box = Box("half a line")
    assert (await snapshot(box, "idle, it says")).startswith("idle, it says\n")
    assert "half a line" in await snapshot(box)
    box.text = "x" * TAIL_CHARS * 2
    assert len(await snapshot(box)) <= TAIL_CHARS


async def test_a_screen_that_cannot_be_seen_says_why() -> None:
    box = Box()
    box.broken = TerminalError("tmux did not answer within 10 s")
    assert await snapshot(box, "busy") == "busy\ncannot see the screen: tmux did not answer within 10 s"
