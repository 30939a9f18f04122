"""Questions that a hook holds open, over a scripted dialog and state file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ProviderRefused, ProviderUnsupported, TerminalError
from relay_runner.protocol.permissions import AT_THE_TERMINAL, Decision
from relay_runner.providers.base import (
    Answer,
    HookCall,
    HookReply,
    PermissionAsked,
    PermissionClosed,
    ProcessState,
    StateChanged,
)
from relay_runner.providers.claude import keys, pending, sight
from relay_runner.providers.claude import permissions as module
from relay_runner.providers.claude.permissions import Permissions
from relay_runner.terminal.base import Key
from tests.terminals import until
from tests.unit.providers.claude.room import SESSION, Room, room, watched

pytestmark = pytest.mark.anyio
__all__ = ["room"]

RULE = "─" * 40
PROMPT = "permission prompt"
APPROVED = {"behavior": "allow"}
GOES_ON = StateChanged(ProcessState.BUSY, "state-file")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRANGE_S", 0.05)
    monkeypatch.setattr(module, "LOOSE_S", 0.1)
    monkeypatch.setattr(module, "HIDDEN_S", 0.05)
    monkeypatch.setattr(module, "OPENED_S", 0.05)
    monkeypatch.setattr(sight, "CAPTURE_S", 0.0)
    monkeypatch.setattr(keys, "KEYS_S", 0.3)
    monkeypatch.setattr(keys, "AGAIN_S", 0.05)


class Held:
    """One hook call that waits."""

    def __init__(self, room: Room, command: str, **payload: Any) -> None:
        self.gone = asyncio.Event()
        given = {"tool_name": "Bash", "tool_input": {"command": command}, "session_id": SESSION, **payload}
        self.task = asyncio.ensure_future(room.process.hook(HookCall("PermissionRequest", given, self.gone)))

    async def decision(self) -> dict[str, Any] | None:
        reply: HookReply = await asyncio.wait_for(self.task, 10)
        return reply.body["hookSpecificOutput"]["decision"] if reply.body else None


def dialog(command: str, header: str = "Bash command") -> tuple[str, ...]:
    return (RULE, f" {header}", f"   {command}", " Do you want to proceed?", " \u276f 1. Yes", "   2. No")


@contextlib.asynccontextmanager
async def working(room: Room) -> AsyncIterator[None]:
    """A turn goes on, and the process is watched."""
    await room.idle()
    await room.hook("UserPromptSubmit", prompt="x")
    room.status("busy")
    async with watched(room):
        yield


async def asked(room: Room, count: int = 1) -> PermissionAsked:
    await until(lambda: len(room.told(PermissionAsked)) >= count)
    return room.told(PermissionAsked)[count - 1]


async def closed(room: Room, id: str) -> PermissionClosed:
    await until(lambda: any(event.id == id for event in room.told(PermissionClosed)))
    return next(event for event in room.told(PermissionClosed) if event.id == id)


async def waits(room: Room) -> None:
    room.status("waiting", PROMPT)
    await until(lambda: room.process.state is ProcessState.WAITING)


async def test_the_held_call_is_answered_and_the_dialogs_end_closes_it(room: Room) -> None:
    async with working(room):
        held = Held(room, "mkdir x")
        question = await asked(room)
        await waits(room)
        assert await room.process.answer(question.id, Answer(Decision.APPROVE))
        assert await held.decision() == APPROVED
        assert room.told(PermissionClosed) == []
        room.status("busy")
        assert await closed(room, question.id) == PermissionClosed(question.id, "state-file", True, Decision.APPROVE)
        assert not await room.process.answer(question.id, Answer(Decision.DENY))


@pytest.mark.parametrize("then", ["busy", "idle"])
async def test_an_answer_at_the_terminal_lets_the_call_go(room: Room, then: str) -> None:
    async with working(room):
        held = Held(room, "mkdir x")
        question = await asked(room)
        await waits(room)
        await until(lambda: room.process._permissions._open[question.id].shown)
        room.status(then)
        end = await closed(room, question.id)
        assert (end.answered, end.decision) == (True, Decision.ABORT if then == "idle" else None)
        assert await held.decision() is None
        assert not await room.process.answer(question.id, Answer(Decision.APPROVE))


@pytest.mark.parametrize("stops", [True, False])
async def test_our_own_interrupt_withdraws_it_where_it_succeeds(room: Room, stops: bool) -> None:
    async with working(room):
        Held(room, "mkdir x")
        question = await asked(room)
        await waits(room)
        await until(lambda: room.process._permissions._open[question.id].shown)
        if stops:
            interrupting = asyncio.ensure_future(room.process.interrupt())
            await until(lambda: bool(room.box.pressed))
            room.status("idle")
            end = await closed(room, question.id)
            await asyncio.wait([interrupting])
            interrupting.exception()
        else:
            with pytest.raises(ProviderRefused):
                await room.process.interrupt()
            room.status("idle")
            end = await closed(room, question.id)
        assert end.answered is not stops


async def test_a_call_that_hangs_up_before_its_dialog_came_is_withdrawn(room: Room) -> None:
    async with working(room):
        held = Held(room, "mkdir x")
        question = await asked(room)
        held.gone.set()
        assert await held.decision() is None
        assert not (await closed(room, question.id)).answered


async def test_what_is_left_is_asked_by_the_dialog_alone(room: Room) -> None:
    async with working(room):
        held = Held(room, "mkdir x")
        question = await asked(room)
        await room.process.leave(question.id)
        assert await held.decision() is None
        room.box.dialog = dialog("something else")
        await waits(room)
        with pytest.raises(ProviderUnsupported, match=AT_THE_TERMINAL):
            await room.process.answer(question.id, Answer(Decision.APPROVE))
        room.status("busy")
        assert (await closed(room, question.id)).answered


async def test_the_very_same_thing_is_not_asked_again_after_an_approval_for_the_session(room: Room) -> None:
    async with working(room):
        held = Held(room, "mkdir x*")
        question = await asked(room)
        assert await room.process.answer(question.id, Answer(Decision.APPROVE_SESSION))
        assert await held.decision() == APPROVED
        assert await Held(room, "mkdir x*").decision() == APPROVED
        assert len(room.told(PermissionAsked)) == 1
        other = Held(room, "mkdir xyz")
        assert (await asked(room, 2)).title == "mkdir xyz"
        other.gone.set()
        await other.decision()


async def test_a_newer_dialog_lies_upon_an_older_one(room: Room) -> None:
    header = "Bash command · from the general-purpose agent"
    async with working(room):
        first = Held(room, "mkdir one", agent_id="a1")
        one = await asked(room)
        room.box.dialog = dialog("mkdir one", header)
        await waits(room)
        await until(lambda: room.process._permissions._open[one.id].shown)
        second = Held(room, "mkdir two", agent_id="a2")
        two = await asked(room, 2)
        room.box.dialog = dialog("mkdir two", header)
        await until(lambda: room.process._permissions._open[two.id].shown)
        assert room.told(PermissionClosed) == [], "what lies below is not over"
        room.box.dialog = dialog("mkdir one", header)
        assert (await closed(room, two.id)).answered
        assert await second.decision() is None
        assert await room.process.answer(one.id, Answer(Decision.DENY, "no"))
        assert await first.decision() == {"behavior": "deny", "message": "no"}
        room.status("busy")
        assert (await closed(room, one.id)).decision is Decision.DENY


async def test_what_is_answered_below_another_dialog_is_over_at_once(room: Room) -> None:
    async with working(room):
        first, second = Held(room, "mkdir one"), Held(room, "mkdir two")
        two = await asked(room, 2)
        one = await asked(room)
        room.box.dialog = dialog("mkdir two")
        await waits(room)
        await until(lambda: room.process._permissions._open[two.id].shown)
        assert await room.process.answer(one.id, Answer(Decision.APPROVE))
        assert await first.decision() == APPROVED
        assert (await closed(room, one.id)).decision is Decision.APPROVE
        assert await room.process.answer(two.id, Answer(Decision.ABORT))
        assert await second.decision() == {"behavior": "deny", "message": "A person denied this.", "interrupt": True}


async def test_a_background_subagent_has_no_dialog_and_is_closed_with_its_answer(room: Room) -> None:
    async with working(room):
        held = Held(room, "mkdir one", agent_id="a1")
        question = await asked(room)
        assert await room.process.answer(question.id, Answer(Decision.APPROVE))
        assert await held.decision() == APPROVED
        assert room.told(PermissionClosed) == []
        assert await closed(room, question.id) == PermissionClosed(question.id, "state-file", True, Decision.APPROVE)


async def test_a_person_at_the_terminal_is_shown_what_a_background_subagent_asks(room: Room) -> None:
    async with working(room):
        held = Held(room, "mkdir one", agent_id="a1", agent_type="general-purpose")
        question = await asked(room)
        room.box.watched = True
        assert await held.decision() is None
        room.box.dialog = dialog("mkdir one", "Bash command · from the general-purpose agent")
        await waits(room)
        again = await asked(room, 2)
        assert (again.id, again.decisions) == (question.id, (Decision.APPROVE, Decision.ABORT))
        answering = asyncio.ensure_future(room.process.answer(question.id, Answer(Decision.APPROVE)))
        await until(lambda: room.box.typed == ["1"])
        room.status("busy")
        assert await asyncio.wait_for(answering, 10)


async def test_a_dialog_that_no_hook_told_of_is_told_to_people(room: Room) -> None:
    async with working(room):
        room.box.dialog = dialog("rm -rf /")
        await waits(room)
        question = await asked(room)
        assert (question.title, question.decisions) == ("Bash command: rm -rf /", (Decision.APPROVE, Decision.ABORT))
        assert "rm -rf /" in (question.detail or "") and "> Yes" in (question.detail or "")
        room.box.dialog = dialog("rm -rf ~")
        with pytest.raises(ProviderUnsupported):
            await room.process.answer(question.id, Answer(Decision.APPROVE))
        assert (room.box.typed, room.box.pressed) == ([], [])
        room.box.dialog = dialog("rm -rf /")
        answering = asyncio.ensure_future(room.process.answer(question.id, Answer(Decision.APPROVE)))
        await until(lambda: "1" in room.box.typed)
        room.status("busy")
        assert await asyncio.wait_for(answering, 10)
        assert (await closed(room, question.id)).decision is Decision.APPROVE


@pytest.mark.parametrize("detail", ["input needed", "dialog open"])
async def test_whatever_is_open_where_no_person_is_can_be_cancelled(room: Room, detail: str) -> None:
    async with working(room):
        room.box.dialog = (RULE, " Held message from another session", "", "  \u276f Deny it", "    Deliver it")
        room.status("waiting", detail)
        question = await asked(room)
        assert (question.title, question.decisions) == ("Held message from another session", (Decision.ABORT,))
        answering = asyncio.ensure_future(room.process.answer(question.id, Answer(Decision.DENY)))
        await until(lambda: Key.ESCAPE in room.box.pressed)
        room.status("busy")
        assert await asyncio.wait_for(answering, 10)


async def test_what_a_person_at_the_terminal_opened_is_that_persons_business(room: Room) -> None:
    async with working(room):
        room.box.dialog, room.box.watched = (RULE, " Settings", "  \u276f One", "    Two"), True
        room.status("waiting", "dialog open")
        looks = room.box.looks
        await until(lambda: room.box.looks > looks + 5)
        assert room.told(PermissionAsked) == []


async def test_a_dialog_in_another_ones_place_is_another_question(room: Room) -> None:
    async with working(room):
        room.box.dialog = (RULE, " Held message from another session", "", "  \u276f Deny it", "    Deliver it")
        await waits(room)
        first = await asked(room)
        room.box.dialog = dialog("rm -rf /")
        assert (await closed(room, first.id)).answered
        assert (await asked(room, 2)).title == "Bash command: rm -rf /"


async def test_an_answer_that_the_program_does_not_act_on_is_asked_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "TAKEN_S", 0.1)
    async with working(room):
        held = Held(room, "mkdir x")
        question = await asked(room)
        room.box.dialog = dialog("mkdir x")
        await waits(room)
        assert await room.process.answer(question.id, Answer(Decision.APPROVE))
        assert await held.decision() == APPROVED
        again = await asked(room, 2)
        assert (again.id, again.reopened) == (question.id, True)
        assert again.decisions == (Decision.APPROVE, Decision.ABORT)
        assert again.note == "Claude Code did not act on approve"
        answering = asyncio.ensure_future(room.process.answer(question.id, Answer(Decision.APPROVE)))
        await until(lambda: "1" in room.box.typed)
        room.status("busy")
        assert await asyncio.wait_for(answering, 10)
        assert len(room.told(PermissionClosed)) == 1


async def test_an_answer_that_was_only_slow_is_still_that_answer(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "TAKEN_S", 0.1)
    async with working(room):
        Held(room, "mkdir x && true | cat")
        question = await asked(room)
        room.box.dialog = dialog("mkdir x && true |", "Bash command")
        await waits(room)
        assert await room.process.answer(question.id, Answer(Decision.APPROVE))
        room.box.dialog = dialog("mkdir x && true | cat…")
        again = await asked(room, 2)
        assert (again.decisions, again.note) == ((), f"Claude Code did not act on approve: {AT_THE_TERMINAL}")
        room.status("busy")
        assert (await closed(room, question.id)).decision is Decision.APPROVE


# --- the next runner --------------------------------------------------------------------------------------------------


class NextRunner:
    """Another runner's view of the same program."""

    def __init__(self, room: Room, *, adopted: bool = True, process_id: str = "p") -> None:
        self.events: list[Any] = []
        old = room.process
        spec = room.spec(process_id)
        self.permissions = Permissions(
            spec, old._terminal, old._tracker, self.events.append, lambda: old.look(), adopted=adopted
        )

    def asked(self) -> list[PermissionAsked]:
        return [event for event in self.events if isinstance(event, PermissionAsked)]


async def held_and_left(room: Room, command: str = "mkdir x") -> PermissionAsked:
    """A question that its runner left when it died."""
    held = Held(room, command)
    question = await asked(room)
    room.box.dialog = dialog(command)
    await waits(room)
    file = room.folder / "claude-permissions.json"
    kept = file.read_bytes()
    room.process.close()
    await held.decision()
    file.write_bytes(kept)
    return question


async def test_the_next_runner_presses_the_dialogs_key_where_the_screen_proves_it(room: Room) -> None:
    async with working(room):
        question = await held_and_left(room)
        later = NextRunner(room)
        await later.permissions.tend()
        (again,) = later.asked()
        assert (again.id, again.title) == (question.id, "mkdir x")
        assert again.decisions == (Decision.APPROVE, Decision.ABORT)
        with pytest.raises(ProviderUnsupported, match="exactly"):
            await later.permissions.answer(question.id, Answer(Decision.APPROVE_SESSION))
        answering = asyncio.ensure_future(later.permissions.answer(question.id, Answer(Decision.APPROVE)))
        await until(lambda: room.box.typed == ["1"])
        room.status("busy")
        later.permissions.before(GOES_ON)
        assert await asyncio.wait_for(answering, 10)


async def test_the_next_runner_presses_nothing_in_another_dialog(room: Room) -> None:
    async with working(room):
        question = await held_and_left(room)
        later = NextRunner(room)
        await later.permissions.tend()
        room.box.dialog = dialog("mkdir x && rm -rf /")
        with pytest.raises(ProviderUnsupported, match=AT_THE_TERMINAL):
            await later.permissions.answer(question.id, Answer(Decision.APPROVE))
        assert room.box.typed == []


async def test_a_key_that_does_nothing_is_said(room: Room) -> None:
    async with working(room):
        question = await held_and_left(room)
        later = NextRunner(room)
        await later.permissions.tend()
        with pytest.raises(ProviderRefused, match="did not take the key"):
            await later.permissions.answer(question.id, Answer(Decision.ABORT))


async def test_an_answer_that_the_terminal_did_not_take_can_be_given_again(room: Room) -> None:
    async with working(room):
        question = await held_and_left(room)
        later = NextRunner(room)
        await later.permissions.tend()
        room.box.deaf = TerminalError("tmux is busy")
        with pytest.raises(TerminalError, match="tmux is busy"):
            await later.permissions.answer(question.id, Answer(Decision.APPROVE))
        room.box.deaf = None
        answering = asyncio.ensure_future(later.permissions.answer(question.id, Answer(Decision.APPROVE)))
        await until(lambda: room.box.typed == ["1"])
        room.status("busy")
        later.permissions.before(GOES_ON)
        assert await asyncio.wait_for(answering, 10)


@pytest.mark.parametrize(("adopted", "process_id"), [(False, "p"), (True, "another")])
async def test_another_programs_questions_are_not_found(room: Room, adopted: bool, process_id: str) -> None:
    async with working(room):
        await held_and_left(room)
        later = NextRunner(room, adopted=adopted, process_id=process_id)
        await later.permissions.tend()
        assert later.asked() == []


async def test_a_screen_that_cannot_be_read_is_looked_at_again(room: Room) -> None:
    async with working(room):
        question = await held_and_left(room)
        later = NextRunner(room)
        room.box.broken = TerminalError("tmux is busy")
        await later.permissions.tend()
        assert later.asked() == []
        room.box.broken = None
        await later.permissions.tend()
        assert [event.id for event in later.asked()] == [question.id]


async def test_what_was_allowed_for_the_session_outlives_the_runner(room: Room, tmp_path: Path) -> None:
    async with working(room):
        held = Held(room, "mkdir x")
        await room.process.answer((await asked(room)).id, Answer(Decision.APPROVE_SESSION))
        await held.decision()
        later = NextRunner(room)
        given = {"tool_name": "Bash", "tool_input": {"command": "mkdir x"}, "session_id": SESSION}
        reply = await later.permissions.hook(HookCall("PermissionRequest", given, asyncio.Event()))
        assert reply.body is not None and later.asked() == []
