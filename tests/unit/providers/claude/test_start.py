"""From a start to the first message: dialogs, hooks that never come, a program that ends at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay_runner.errors import ProviderExited, ProviderNotReady, TerminalError
from relay_runner.providers.base import (
    Degraded,
    Held,
    ProcessState,
    StateChanged,
)
from relay_runner.providers.claude import start
from tests.terminals import until
from tests.unit.providers.claude.room import SESSION, Room, message, room, watched  # noqa: F401

pytestmark = pytest.mark.anyio


async def test_it_is_ready_when_its_session_began(room: Room) -> None:
    async with asyncio.TaskGroup() as group:
        ready = group.create_task(room.process.ready())
        answer = await room.hook("SessionStart", source="startup")
        await ready
    assert room.process.state is ProcessState.IDLE
    assert "You are the agent `a` on a relay." in answer["hookSpecificOutput"]["additionalContext"]
    assert await room.hook("SessionStart", source="resume") is None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn late is not waited for, unless a test says so."""
    monkeypatch.setattr(start, "DRAWN_S", 0.05)


@pytest.mark.parametrize("drawn", [True, False])
async def test_a_message_waits_for_the_input_row_for_a_while(
    room: Room, monkeypatch: pytest.MonkeyPatch, drawn: bool
) -> None:
    monkeypatch.setattr(start, "DRAWN_S", 60.0 if drawn else 0.2)
    room.box.dialog = ("the session begins",)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        ready = group.create_task(room.process.ready())
        await room.hook("SessionStart", source="startup")
        await until(lambda: room.box.looks > 1)
        assert not ready.done(), "it is idle, and shows no input row yet"
        if drawn:
            room.box.dialog = None


async def test_without_hooks_it_is_ready_and_says_so(room: Room) -> None:
    room.status("idle")
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(room.process.watch())
        await room.process.ready()
        watching.cancel()
    assert [event for event in room.events if isinstance(event, Degraded)]
    await room.hook("SessionStart", source="startup")
    assert room.events[-1] == Degraded(None)


async def test_a_dialog_at_the_start_is_named_when_nobody_is_there(room: Room) -> None:
    room.box.dialog = ("Is this a project you created or one you trust?",)
    with pytest.raises(ProviderNotReady, match="--trust-folder"):
        await room.process.ready()


async def test_a_person_has_time_to_answer(tmp_path: Path) -> None:
    room = Room(tmp_path, headless=False)
    room.box.dialog = ("Is this a project you created or one you trust?",)
    async with asyncio.TaskGroup() as group:
        ready = group.create_task(room.process.ready())
        await asyncio.sleep(0)
        assert not ready.done()
        await room.hook("SessionStart", source="startup")


async def test_a_dialog_that_waits_for_a_person_is_told_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "ATTENDED_LOOK_S", 0.01)
    room = Room(tmp_path, headless=False)
    room.box.dialog = ("Is this a project you created or one you trust?",)
    asks = "Claude Code asks whether this folder is trusted"
    async with watched(room), asyncio.TaskGroup() as group:
        ready = group.create_task(room.process.ready())
        await until(lambda: room.process.state is ProcessState.WAITING)
        assert room.told(StateChanged) == [
            StateChanged(ProcessState.STARTING, "runner"),
            StateChanged(ProcessState.WAITING, "screen", asks),
        ]
        assert not ready.done()
        assert await room.process.submit(message()) == Held("dialog open")
        room.box.dialog = ()
        await until(lambda: room.process.state is ProcessState.STARTING)
        await room.hook("SessionStart", source="startup")
        await ready
    assert room.process.state is ProcessState.IDLE


async def test_a_start_outlives_a_terminal_that_does_not_answer(room: Room) -> None:
    room.box.broken = TerminalError("tmux is silent")
    async with asyncio.TaskGroup() as group:
        ready = group.create_task(room.process.ready())
        await until(lambda: Degraded("tmux is silent") in room.events)
        room.box.broken = None
        await until(lambda: room.events[-1] == Degraded(None))
        await room.hook("SessionStart", source="startup")
        await ready


async def test_an_end_without_a_screen_is_explained_all_the_same(room: Room) -> None:
    room.box.living, room.box.broken = False, TerminalError("no server")
    with pytest.raises(ProviderExited, match=r"ended \(exit code 1\)$"):
        await room.process.ready()
    assert not room.told(Degraded)


async def test_a_start_that_takes_too_long_shows_what_is_there(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "READY_S", 0.0)
    room.box.dialog = ("an unknown dialog",)
    with pytest.raises(ProviderNotReady, match="it shows: an unknown dialog"):
        await room.process.ready()


async def test_a_program_that_ended_is_explained(room: Room) -> None:
    room.box.living = False
    room.box.dialog = ("error: unknown option '--nope'",)
    with pytest.raises(ProviderExited, match="unknown option '--nope'") as caught:
        await room.process.ready()
    assert caught.value.exit_code == 1
