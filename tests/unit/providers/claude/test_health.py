"""What cannot be seen is told once, and its end once."""

from __future__ import annotations

from typing import cast

import pytest

from relay_runner.errors import ProviderExited, TerminalError
from relay_runner.providers.base import Degraded, Event
from relay_runner.providers.claude.health import Health, Part
from relay_runner.terminal.base import Terminal
from tests.unit.providers.claude.box import Box

pytestmark = pytest.mark.anyio


def test_every_change_is_told_once() -> None:
    events: list[Event] = []
    health = Health(cast(Terminal, Box()), events.append)
    health.whole(Part.HOOKS)
    health.lost(Part.HOOKS, "no hooks")
    health.lost(Part.HOOKS, "still no hooks")
    health.lost(Part.RECORDS, "no files")
    health.whole(Part.HOOKS)
    assert health.lacks(Part.RECORDS) and not health.lacks(Part.HOOKS)
    health.whole(Part.RECORDS)
    assert events == [Degraded(reason) for reason in ("no hooks", "no hooks; no files", "no files", None)]


@pytest.mark.parametrize("error", [TerminalError("silent"), ProviderExited("the pane is dead")])
async def test_the_screen_of_a_program_that_has_ended_is_not_missed(error: Exception) -> None:
    events: list[Event] = []
    box = Box("draft")
    health = Health(cast(Terminal, box), events.append)
    box.broken, box.living = error, False
    assert await health.screen() is None
    assert events == []
    box.living = True
    assert await health.screen() is None
    box.broken = None
    assert await health.screen() is not None
    assert events == [Degraded(str(error)), Degraded(None)]
