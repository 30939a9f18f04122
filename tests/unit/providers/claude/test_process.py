"""One process: the ladder's order, what holds, what hooks are answered. The program is a scripted box and its files."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import cast

import pytest

from relay_runner.errors import ProviderRefused, ProviderUnsupported, TerminalError
from relay_runner.protocol.messages import Outcome, Timing
from relay_runner.providers.base import (
    ContextUsed,
    Degraded,
    Held,
    LaunchPlan,
    ProcessState,
    Seen,
    StateChanged,
    Submitted,
    TurnEnded,
    TurnState,
)
from relay_runner.providers.claude import closing, ladder, operations, parts
from relay_runner.providers.claude import process as module
from relay_runner.providers.claude.health import HOOKLESS
from relay_runner.providers.restart import NOTICE
from relay_runner.terminal.base import Key, Terminal
from tests.terminals import until
from tests.unit.providers.claude.room import SESSION, Room, message, room, watched  # noqa: F401

pytestmark = pytest.mark.anyio


def unreadable(file: Path) -> None:
    """Put a folder where the file is: reading it fails as on a bad disk."""
    file.unlink()
    file.mkdir()


async def test_the_watch_outlives_a_terminal_that_does_not_answer(room: Room) -> None:
    await room.idle()
    await room.hook("UserPromptSubmit", prompt=message().text, prompt_id="p1")
    room.box.broken = TerminalError("tmux is silent")
    async with watched(room):
        room.status("idle")
        await until(lambda: room.box.looks > 2)
        assert room.told(Degraded) == [Degraded("tmux is silent")]
        room.box.broken = None
        await until(lambda: room.events[-1] == Degraded(None))


async def test_the_watch_outlives_files_that_cannot_be_read(room: Room) -> None:
    await room.idle()
    line = json.dumps({"type": "user", "message": {"content": message().text}}) + "\n"
    room.transcript.mkdir(parents=True)  # what is no file fails as one on a bad disk does
    async with watched(room):
        await until(lambda: bool(room.told(Degraded)))
        await room.hook("Notification")
        assert await room.process.obstacle(message()) is None
        room.transcript.rmdir()
        room.transcript.write_text(line)
        await until(lambda: Seen("n1", "transcript") in room.events)
    first, second = room.told(Degraded)
    assert str(room.transcript) in str(first.reason)
    assert second == Degraded(None)


async def test_hooks_that_never_come_are_told_and_heal_by_one_that_does(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "HOOK_S", 0.0)
    await room.idle()
    room.transcript.parent.mkdir(parents=True)
    room.transcript.write_text(json.dumps({"type": "user", "message": {"content": message().text}}) + "\n")
    room.process.look()
    assert room.told(Degraded) == [Degraded(HOOKLESS)]
    await room.hook("SessionStart", source="compact")  # a command hook: it says nothing of the others
    assert room.told(Degraded) == [Degraded(HOOKLESS)]
    await room.hook("Stop")
    assert len(room.told(Degraded)) == 1
    await room.hook("UserPromptSubmit", prompt="hello")
    assert room.told(Degraded)[-1] == Degraded(None)


def lifecycle(room: Room) -> list[str]:
    return [event.context.lifecycle_state for event in room.told(ContextUsed)]


async def test_a_compaction_that_the_program_begins_by_itself_shows(room: Room) -> None:
    await room.idle()
    await room.hook("UserPromptSubmit", prompt=message().text, prompt_id="p1")
    room.status("busy")
    await room.hook("PreCompact", trigger="auto")
    room.process.look()
    assert lifecycle(room)[-1] == "compacting" and room.told(StateChanged)[-1].detail == "compact"
    await room.hook("SessionStart", source="compact")
    await room.hook("PostCompact", trigger="auto")
    room.process.look()
    assert lifecycle(room)[-1] == "compacted" and room.told(StateChanged)[-1].detail is None


async def test_a_compaction_that_comes_to_nothing_does_not_show_for_ever(room: Room) -> None:
    await room.idle()
    room.status("busy")
    await room.hook("PreCompact", trigger="auto")
    room.process.look()
    room.status("idle")
    room.process.look()
    assert lifecycle(room)[-1] == "active"


@pytest.mark.parametrize(("resumed", "adopted"), [(True, False), (False, False), (True, True)])
async def test_a_model_is_told_once_when_its_session_goes_on_in_a_new_program(
    room: Room, resumed: bool, adopted: bool
) -> None:
    plan = LaunchPlan(argv=(), env={}, cwd=room.folder, session_id=SESSION, resumed=resumed)
    terminal = cast(Terminal, room.box)
    room.process = module.ClaudeProcess(room.spec(), plan, terminal, room.events.append, room.home, adopted=adopted)
    answers = [await room.hook("SessionStart", source=source) for source in ("resume", "resume", "clear")]
    told = [NOTICE in json.dumps(answer, ensure_ascii=False).replace("\\n", "\n") for answer in answers]
    assert told == [resumed and not adopted, False, False]


async def test_what_one_file_says_is_told_although_another_cannot_be_read(room: Room) -> None:
    await room.idle()
    unreadable(room.home.state_file(os.getpid()))
    room.transcript.parent.mkdir(parents=True)
    room.transcript.write_text(json.dumps({"type": "user", "message": {"content": message().text}}) + "\n")
    room.process.look()
    assert Seen("n1", "transcript") in room.events


async def test_the_end_of_a_turn_is_told_although_the_records_cannot_be_read(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "TOKENS_S", 0.02)
    await room.idle()
    await room.hook("UserPromptSubmit", prompt=message().text, prompt_id="p1")
    room.status("busy")
    room.process.look()
    unreadable(room.home.state_file(os.getpid()))
    await room.hook("Stop", last_assistant_message="done")
    async with watched(room):
        await until(lambda: [ended.result for ended in room.told(TurnEnded)] == ["done"])
        await until(lambda: room.process.state is ProcessState.IDLE)


async def test_the_state_file_is_read_although_the_transcript_cannot_be(room: Room) -> None:
    await room.idle()
    room.transcript.mkdir(parents=True)
    room.status("waiting", "dialog open")
    room.process.look()
    assert room.process.state is ProcessState.WAITING


@pytest.mark.parametrize(
    "strange",
    [
        {"type": "user", "message": "a text"},
        {"type": "assistant", "message": ["x"]},
        {"type": "attachment", "attachment": "x"},
        {"type": "queue-operation", "operation": "enqueue", "content": {}},
        {"type": "system", "subtype": 5},
        {"type": "assistant", "message": {"usage": "x", "content": 5, "id": []}},
    ],
)
async def test_a_line_of_another_shape_is_passed_over(room: Room, strange: dict[str, object]) -> None:
    await room.idle()
    room.transcript.parent.mkdir(parents=True)
    lines = [
        {"type": "user", "message": {"content": "x"}},
        strange,
        {"type": "user", "message": {"content": message().text}},
    ]
    room.transcript.write_text("".join(json.dumps(line) + "\n" for line in lines))
    room.process.look()
    assert Seen("n1", "transcript") in room.events


async def test_the_poller_comes_first(room: Room) -> None:
    await room.idle()
    async with asyncio.TaskGroup() as group:
        poll = group.create_task(room.hook("rewake", pid=os.getpid()))
        submitting = group.create_task(room.process.submit(message()))
        assert (await poll)["text"] == message().text
        assert (await room.hook("rewake-taken", nonce="n1"))["granted"] is True
        assert await submitting == Submitted("rewake")
    assert room.box.entered == []


async def test_without_a_poller_it_is_pasted(room: Room) -> None:
    await room.idle()
    await room.process.submit(message())
    assert room.box.entered == [message().text]


async def test_an_operators_words_are_pasted_although_a_poller_waits(room: Room) -> None:
    await room.idle()
    async with asyncio.TaskGroup() as group:
        poll = group.create_task(room.hook("rewake", pid=os.getpid()))
        await asyncio.sleep(0)
        await room.process.submit(message(operator=True, body="see @/etc/passwd"))
        room.process.close()
        assert await poll is None
    assert "see @/etc/passwd" in room.box.entered[0]


async def test_a_peers_mentions_are_defused(room: Room) -> None:
    await room.idle()
    await room.process.submit(message(body="see @/etc/passwd and /deploy"))
    assert "see \uff20\uff0fetc/passwd and \uff0fdeploy" in room.box.entered[0]


async def test_nothing_goes_in_while_something_is_open(room: Room) -> None:
    assert await room.process.submit(message()) == Held("starting", retry_s=0.5)
    await room.idle()
    room.status("waiting", "dialog open")
    for timing in Timing:
        assert await room.process.submit(message(timing=timing)) == Held("dialog open")
    room.status("busy")
    assert await room.process.submit(message()) == Held("busy", retry_s=0.5)
    assert (room.box.pressed, room.box.text) == ([], "")


async def test_a_steered_message_goes_into_a_busy_program(room: Room) -> None:
    await room.idle()
    room.status("busy")
    await room.process.submit(message(timing=Timing.STEER))
    assert room.box.entered == [message().text]


async def test_an_interrupt_is_an_escape_that_works(room: Room) -> None:
    await room.idle()
    room.status("busy")
    async with asyncio.TaskGroup() as group:
        interrupting = group.create_task(room.process.interrupt())
        await until(lambda: room.box.pressed == [Key.ESCAPE])
        room.status("idle")
        await interrupting


async def test_an_idle_program_is_not_interrupted(room: Room) -> None:
    await room.idle()
    await room.process.interrupt()
    assert room.box.pressed == []


async def test_an_interrupt_without_effect_is_refused(room: Room) -> None:
    await room.idle()
    room.status("busy")
    with pytest.raises(ProviderRefused, match="did not stop"):
        await room.process.interrupt()
    assert room.box.pressed == [Key.ESCAPE, Key.ESCAPE]


async def test_a_persons_dialog_is_not_escaped_from(room: Room) -> None:
    await room.idle()
    room.status("waiting", "dialog open")
    with pytest.raises(ProviderRefused, match="a dialog is open"):
        await room.process.interrupt()
    assert room.box.pressed == []


async def test_what_goes_on_is_found_before_it_is_written(room: Room) -> None:
    await room.idle()
    assert not (await room.process.find("n1")).seen
    await room.hook("UserPromptSubmit", prompt=message().text, prompt_id="p1")
    assert (await room.process.find("n1")).turn is TurnState.RUNNING
    await room.hook("Stop", last_assistant_message="done", background_tasks=[])
    evidence = await room.process.find("n1")
    assert (evidence.outcome, evidence.result) == (Outcome.COMPLETED, "done")


async def test_a_turn_of_a_dead_program_was_cut_off(room: Room) -> None:
    await room.idle()
    await room.hook("UserPromptSubmit", prompt=message().text, prompt_id="p1")
    room.box.living = False
    assert (await room.process.find("n1")).absent, "it died before it wrote or sent anything"
    await room.hook("SubagentStart", agent_id="a1", agent_type="general-purpose")
    assert (await room.process.find("n1")).unsure, "its model did something, and it is not written down for what"


async def test_an_operation_waits_for_a_message_on_its_way_in(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTERING_S", 0.05)
    await room.idle()
    async with asyncio.TaskGroup() as group:
        poll = group.create_task(room.hook("rewake", pid=os.getpid()))
        submitting = group.create_task(room.process.submit(message()))
        await poll
        with pytest.raises(ProviderRefused, match="on its way in"):
            await room.process.operate("clear", {})
        await room.hook("rewake-taken", nonce="n1")
        await submitting
    with pytest.raises(ProviderRefused, match="on its way in"):
        await room.process.operate("clear", {})
    assert room.box.text == ""


async def test_a_message_that_was_lost_with_its_poller_keeps_no_operation_out_for_good(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "ENTERING_S", 0.05)
    monkeypatch.setattr(operations, "BEGIN_S", 0.05)
    await room.idle()
    async with asyncio.TaskGroup() as group:
        poll = group.create_task(room.hook("rewake", pid=os.getpid()))
        submitting = group.create_task(room.process.submit(message()))
        await poll
        await room.hook("rewake-taken", nonce="n1")
        await submitting
    with pytest.raises(ProviderRefused, match="did not begin a new session"):
        await room.process.operate("clear", {})
    assert room.box.entered == ["/clear"]


async def test_an_unknown_operation_is_unsupported(room: Room) -> None:
    assert room.process.operations.keys() == {"compact", "clear", "inject"}
    with pytest.raises(ProviderUnsupported, match="cannot fork"):
        await room.process.operate("fork", {})


async def test_injected_words_go_in_with_the_next_prompt(room: Room) -> None:
    await room.idle()
    assert (await room.process.operate("inject", {"content": "the build is red"}))["count"] == 1
    answer = await room.hook("UserPromptSubmit", prompt="go on", prompt_id="p1")
    assert "the build is red" in answer["hookSpecificOutput"]["additionalContext"]
    assert await room.hook("UserPromptSubmit", prompt="and on", prompt_id="p2") is None


async def test_a_subagents_prompt_takes_no_injected_words(room: Room) -> None:
    await room.idle()
    await room.process.operate("inject", {"content": "for the main session"})
    assert await room.hook("UserPromptSubmit", prompt="x", prompt_id="p1", agent_id="a1") is None
