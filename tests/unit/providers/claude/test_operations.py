"""Compact and clear over a scripted box: when they are typed, what proves them, and that no draft is touched."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from relay_runner.errors import ProviderRefused
from relay_runner.providers.base import Held, HookCall
from relay_runner.providers.claude import operations
from relay_runner.providers.claude.operations import MAX_INSTRUCTIONS, CommandEvidence
from relay_runner.terminal.base import Key
from tests.terminals import until
from tests.unit.providers.claude.room import Room, message, room  # noqa: F401

pytestmark = pytest.mark.anyio
NEXT = "99999999-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDLE_S", "SHOWN_S", "BEGIN_S", "OVER_S"):
        monkeypatch.setattr(operations, name, 0.2)


def say(room: Room, *lines: dict[str, Any]) -> None:
    room.transcript.parent.mkdir(parents=True, exist_ok=True)
    with room.transcript.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def answered(text: str, stream: str = "stdout") -> dict[str, Any]:
    content = f"<local-command-{stream}>{text}</local-command-{stream}>"
    return {"type": "system", "subtype": "local_command", "content": content}


async def begun(room: Room) -> None:
    await room.idle()
    say(room, {"type": "user", "message": {"content": "hello"}})


async def test_compact_is_over_when_the_session_started_once_more(room: Room) -> None:
    await begun(room)
    async with asyncio.TaskGroup() as group:
        compacting = group.create_task(room.process.operate("compact", {"instructions": "keep\nthe tests"}))
        await until(lambda: room.box.entered == ["/compact keep the tests"])
        room.status("busy")
        assert await room.process.submit(message()) == Held("compact", retry_s=0.2)
        await room.hook("SessionStart", source="compact")
        room.status("idle")
        assert (await compacting)["sessionId"]
    assert room.box.pressed == [Key.ENTER]


async def test_compact_is_proven_by_the_transcript_too(room: Room) -> None:
    await begun(room)
    async with asyncio.TaskGroup() as group:
        compacting = group.create_task(room.process.operate("compact", {}))
        await until(lambda: room.box.entered == ["/compact"])
        say(room, {"type": "system", "subtype": "compact_boundary"}, answered("Compacted"))
        await compacting


async def test_a_compaction_that_has_begun_is_waited_for_although_the_program_is_idle_again(room: Room) -> None:
    """On a very busy machine its end is heard of long after the state file is idle."""
    await begun(room)
    async with asyncio.TaskGroup() as group:
        compacting = group.create_task(room.process.operate("compact", {}))
        await until(lambda: room.box.entered == ["/compact"])
        await room.hook("PreCompact", trigger="manual")
        room.status("busy")
        room.process.look()
        room.status("idle")
        await asyncio.sleep(2 * operations.OVER_S)
        assert not compacting.done()
        await room.hook("PostCompact", trigger="manual")
        assert (await compacting)["sessionId"]


async def test_the_programs_own_word_that_it_compacted_counts(room: Room) -> None:
    await begun(room)
    async with asyncio.TaskGroup() as group:
        compacting = group.create_task(room.process.operate("compact", {}))
        await until(lambda: room.box.entered == ["/compact"])
        say(room, answered("\x1b[2mCompacted (ctrl+o to see full summary)\x1b[22m"))
        assert (await compacting)["sessionId"]


async def test_a_compaction_that_begins_and_never_ends_is_given_up(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "SLOW_S", 0.3)
    await begun(room)

    async def program() -> None:
        await until(lambda: room.box.entered == ["/compact"])
        await room.hook("PreCompact", trigger="manual")

    async with asyncio.TaskGroup() as group:
        group.create_task(program())
        with pytest.raises(ProviderRefused, match="did not compact"):
            await room.process.operate("compact", {})


async def test_what_the_program_says_against_it_is_told(room: Room) -> None:
    await begun(room)

    async def program() -> None:
        await until(lambda: room.box.entered == ["/compact"])
        say(room, answered("\x1b[2mNot enough messages to compact.\x1b[22m"))

    async with asyncio.TaskGroup() as group:
        group.create_task(program())
        with pytest.raises(ProviderRefused, match=r"Claude Code says: Not enough messages to compact\.$"):
            await room.process.operate("compact", {})
    assert await room.process.obstacle(message()) is None


async def test_a_compaction_that_nothing_shows_ends(room: Room) -> None:
    await begun(room)
    with pytest.raises(ProviderRefused, match="it does not say why"):
        await room.process.operate("compact", {})


async def test_clear_tells_the_new_session(room: Room) -> None:
    await room.idle()
    async with asyncio.TaskGroup() as group:
        clearing = group.create_task(room.process.operate("clear", {}))
        await until(lambda: room.box.entered == ["/clear"])
        with pytest.raises(ProviderRefused, match="busy with clear"):
            await room.process.operate("compact", {})
        await room.process.hook(_start(NEXT))
        assert (await clearing)["sessionId"] == NEXT


async def test_a_clear_without_a_new_session_is_refused(room: Room) -> None:
    await room.idle()
    with pytest.raises(ProviderRefused, match="did not begin a new session"):
        await room.process.operate("clear", {})


async def test_nothing_is_compacted_before_anything_was_said(room: Room) -> None:
    await room.idle()
    with pytest.raises(ProviderRefused, match="nothing was said"):
        await room.process.operate("compact", {})
    assert room.box.pressed == []


async def test_a_draft_and_a_dialog_are_left_alone(room: Room) -> None:
    await room.idle()
    room.box.text = "half a li"
    with pytest.raises(ProviderRefused, match="person typing at its terminal"):
        await room.process.operate("clear", {})
    assert (room.box.text, room.box.pressed) == ("half a li", [])
    room.box.text, room.box.dialog = "", ("Do you want to proceed?", "> 1. Yes")
    with pytest.raises(ProviderRefused, match="dialog open"):
        await room.process.operate("clear", {})
    room.status("busy")
    with pytest.raises(ProviderRefused, match="Claude Code is busy"):
        await room.process.operate("clear", {})
    assert room.box.pressed == []


async def test_what_a_person_types_in_that_moment_stays(room: Room) -> None:
    await room.idle()
    room.box.typed_before = "look "
    with pytest.raises(ProviderRefused, match="somebody types"):
        await room.process.operate("clear", {})
    assert (room.box.text, room.box.entered) == ("look ", [])
    room.box.text, room.box.typed_before, room.box.typed_meanwhile = "", "", " up"
    with pytest.raises(ProviderRefused, match="somebody types"):
        await room.process.operate("clear", {})
    assert room.box.entered == []


async def test_a_swallowed_enter_is_pressed_again(room: Room) -> None:
    await begun(room)
    room.box.swallow = 1
    async with asyncio.TaskGroup() as group:
        compacting = group.create_task(room.process.operate("compact", {}))
        await until(lambda: room.box.entered == ["/compact"])
        await room.hook("SessionStart", source="compact")
        await compacting
    assert room.box.pressed == [Key.ENTER, Key.ENTER]


async def test_a_command_that_is_not_taken_is_taken_off_again(room: Room) -> None:
    await room.idle()
    room.box.swallow = 9
    with pytest.raises(ProviderRefused, match="did not take the command"):
        await room.process.operate("clear", {})
    assert (room.box.text, room.box.entered) == ("", [])


@pytest.mark.parametrize("instructions", ["x" * (MAX_INSTRUCTIONS + 1), 7])
async def test_instructions_have_bounds(room: Room, instructions: Any) -> None:
    await begun(room)
    with pytest.raises(ProviderRefused, match="instructions"):
        await room.process.operate("compact", {"instructions": instructions})
    assert room.box.pressed == []


def test_only_the_main_conversation_is_evidence() -> None:
    evidence = CommandEvidence()
    for line in (
        "no object",
        {"type": "system", "subtype": "compact_boundary", "isSidechain": True},
        {"type": "user", "message": {"content": [{"type": "text", "text": "<local-command-stdout>x"}]}},
        {"type": "user", "message": {"content": "a <local-command-stdout>x</local-command-stdout>"}},
    ):
        evidence.line(line)
    assert (evidence.compactions, evidence.said) == (0, None)
    evidence.line(answered("Error: it failed", "stderr"))
    assert evidence.said == "Error: it failed"


def _start(session: str) -> HookCall:
    return HookCall("SessionStart", {"session_id": session, "source": "clear"}, asyncio.Event())
