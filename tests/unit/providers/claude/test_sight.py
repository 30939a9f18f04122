"""The screen as a second source beside the state file."""

from __future__ import annotations

import asyncio
import logging

import pytest

from relay_runner.errors import TerminalError
from relay_runner.providers.base import ProcessState
from relay_runner.providers.claude import sight
from relay_runner.providers.claude.sight import Glance, Sight
from tests.terminals import until
from tests.unit.providers.claude.box import Box
from tests.unit.providers.claude.room import Room, room, watched

pytestmark = pytest.mark.anyio
__all__ = ["room"]
DIALOG = ("─" * 40, " Bash command", "   mkdir x", " Do you want to proceed?", " \u276f 1. Yes", "   2. No")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "DOUBT_LOOK_S", 0.0)
    monkeypatch.setattr(sight, "DOUBT_S", 0.1)


async def test_the_screen_is_looked_at_only_so_often() -> None:
    box = Box()
    box.dialog = DIALOG
    one = Sight(box)
    glance = await one.dialog()
    assert glance.seen and glance.dialog is not None
    assert await one.dialog() == Glance(False)


async def test_a_screen_that_cannot_be_read_is_not_seen() -> None:
    box = Box()
    box.broken = TerminalError("tmux is busy")
    assert await Sight(box).dialog() == Glance(False)


async def test_a_dialog_that_the_screen_does_not_show_is_doubted_and_said(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    await room.idle()
    async with watched(room):
        with caplog.at_level(logging.WARNING):
            room.status("waiting", "dialog open")
            await until(lambda: room.process.state is ProcessState.WAITING)
            await until(lambda: room.process.state is ProcessState.IDLE)
        (said,) = [record.getMessage() for record in caplog.records if "trusting the screen" in record.getMessage()]
        assert '"waitingFor": "dialog open"' in said and "? for shortcuts" in said
        room.status("waiting", "permission prompt")
        room.box.dialog = DIALOG
        await until(lambda: room.process.state is ProcessState.WAITING)


async def test_a_dialog_that_is_there_is_believed(room: Room) -> None:
    await room.idle()
    room.box.dialog = DIALOG
    async with watched(room):
        room.status("waiting", "dialog open")
        await until(lambda: room.process.state is ProcessState.WAITING)
        looks = room.box.looks
        await until(lambda: room.box.looks > looks + 20)
        assert room.process.state is ProcessState.WAITING


async def test_a_question_that_is_held_open_is_believed(room: Room) -> None:
    from tests.unit.providers.claude.test_permissions import Held

    await room.idle()
    await room.hook("UserPromptSubmit", prompt="x")
    async with watched(room):
        held = Held(room, "mkdir x")
        room.status("waiting", "permission prompt")
        await until(lambda: room.process.state is ProcessState.WAITING)
        await asyncio.sleep(sight.DOUBT_S * 3)
        assert room.process.state is ProcessState.WAITING
        held.gone.set()
        await held.decision()
