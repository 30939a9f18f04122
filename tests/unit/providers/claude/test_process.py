"""One process: the ladder's order, what holds, what hooks are answered. The program is a scripted box and its files."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from relay_runner.errors import ProviderExited, ProviderNotReady, ProviderRefused, ProviderUnsupported
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.envelope import render
from relay_runner.protocol.messages import Message, Outcome, Timing
from relay_runner.providers.base import (
    Degraded,
    Event,
    Held,
    HookCall,
    LaunchPlan,
    LaunchSpec,
    ProcessState,
    Submission,
    Submitted,
    TurnState,
)
from relay_runner.providers.claude import paste, rewake
from relay_runner.providers.claude import process as module
from relay_runner.providers.claude.home import ClaudeHome
from relay_runner.providers.claude.process import ClaudeProcess
from relay_runner.terminal.base import ExitStatus, Key, Screen, Terminal
from tests.terminals import until
from tests.unit.providers.claude.box import Box

pytestmark = pytest.mark.anyio
SESSION = "11111111-2222-3333-4444-555555555555"


class Room:
    """A process over a scripted box, with the state file in a temporary home."""

    def __init__(self, folder: Path, *, headless: bool = True) -> None:
        self.home = ClaudeHome.of({"HOME": str(folder)})
        self.box = Box()
        self.events: list[Event] = []
        spec = LaunchSpec(
            agent_id="a",
            runner_id="r",
            cwd=folder,
            agent_dir=folder,
            control=ControlEndpoint(url="", port=1, secret="s", provider_session_id="p"),
            environ={"HOME": str(folder)},
            headless=headless,
        )
        plan = LaunchPlan(argv=(), env={}, cwd=folder, session_id=SESSION)
        self.process = ClaudeProcess(spec, plan, cast(Terminal, self.box), self.events.append, self.home, adopted=False)

    def status(self, status: str, waiting_for: str | None = None) -> None:
        file = self.home.state_file(os.getpid())
        file.parent.mkdir(parents=True, exist_ok=True)
        fields = {"pid": os.getpid(), "sessionId": SESSION, "status": status, "statusUpdatedAt": time.time() * 1000}
        file.write_text(json.dumps({**fields, "waitingFor": waiting_for}))

    async def hook(self, name: str, **payload: Any) -> Any:
        return (await self.process.hook(HookCall(name, {"session_id": SESSION, **payload}, asyncio.Event()))).body

    async def idle(self) -> None:
        await self.hook("SessionStart", source="startup")
        self.status("idle")
        self.events.clear()


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    """A room in which waiting is short."""
    monkeypatch.setattr(rewake, "ARRIVAL_S", 0.02)
    monkeypatch.setattr(paste, "ENTER_S", 0.02)
    monkeypatch.setattr(paste, "EVIDENCE_S", 0.02)
    monkeypatch.setattr(module, "HOOKS_S", 0.05)
    monkeypatch.setattr(module, "INTERRUPT_S", 0.05)
    yield Room(tmp_path)


def message(*, operator: bool = False, timing: Timing = Timing.QUEUE, body: str = "text") -> Submission:
    now = 1_800_000_000.0
    one = Message(
        id=1, sender="agent:b", to="a", body=body, created_at=now, expires_at=now, operator=operator, timing=timing
    )
    return Submission(one, "n1", render(one, "n1"))


async def test_it_is_ready_when_its_session_began(room: Room) -> None:
    async with asyncio.TaskGroup() as group:
        ready = group.create_task(room.process.ready())
        answer = await room.hook("SessionStart", source="startup")
        await ready
    assert room.process.state is ProcessState.IDLE
    assert "You are the agent `a` on a relay." in answer["hookSpecificOutput"]["additionalContext"]
    assert await room.hook("SessionStart", source="resume") is None


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


async def test_a_start_that_takes_too_long_shows_what_is_there(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_S", 0.0)
    room.box.dialog = ("an unknown dialog",)
    with pytest.raises(ProviderNotReady, match="it shows: an unknown dialog"):
        await room.process.ready()


async def test_a_program_that_ended_is_explained(room: Room) -> None:
    room.box.living = False
    room.box.dialog = ("error: unknown option '--nope'",)
    with pytest.raises(ProviderExited, match="unknown option '--nope'") as caught:
        await room.process.ready()
    assert caught.value.exit_code == 1


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
    await room.process.submit(message(body="see @/etc/passwd"))
    assert "see \\@/etc/passwd" in room.box.entered[0]


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
    evidence = await room.process.find("n1")
    assert (evidence.turn, evidence.outcome) == (TurnState.ENDED, Outcome.FAILED)
    assert "in the middle of the turn" in str(evidence.reason)


async def test_operations_are_refused(room: Room) -> None:
    with pytest.raises(ProviderUnsupported, match="compact"):
        await room.process.operate("compact", {})


@pytest.mark.parametrize(
    ("status", "screen", "words"),
    [
        (ExitStatus(0), None, "Claude Code ended (exit code 0)"),
        (ExitStatus(-9), None, "Claude Code ended (killed by signal 9)"),
        (ExitStatus(1), Screen(lines=("one", "two")), "Claude Code ended (exit code 1): two"),
        (ExitStatus(0), Screen(lines=("bye",)), "Claude Code ended (exit code 0)"),
    ],
)
async def test_an_exit_is_explained(room: Room, status: ExitStatus, screen: Screen | None, words: str) -> None:
    assert room.process.explain_exit(status, screen) == words
