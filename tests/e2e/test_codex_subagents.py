"""Sub-agents of the real Codex: shown while they work, part of the turn that spawned them, and never stuck."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from relay_runner.protocol.messages import Outcome, Timing
from relay_runner.providers.base import (
    Held,
    ProcessState,
    StateChanged,
    SubagentEnded,
    SubagentStarted,
    Submitted,
    TurnEnded,
)
from relay_runner.providers.codex.process import CodexProcess
from tests.contract.providers import Rig, Running, adopt, codex_rig, connected, launch, running, submission
from tests.terminals import sockets as sockets
from tests.terminals import until

pytestmark = [pytest.mark.anyio, pytest.mark.codex]
SIXTH = "gpt-6.1-sol"
LONG = "SPAWN:helper SLOW:60;;SAY:never"


@pytest.fixture
async def rig(tmp_path: Path, sockets: Path) -> AsyncIterator[Rig]:
    async with codex_rig(tmp_path, sockets) as opened:
        yield opened


def told(it: Running, kind: type) -> list[object]:
    return [event for event in it.events if isinstance(event, kind)]


async def test_a_turn_that_waits_for_its_sub_agent(rig: Rig) -> None:
    async with running(rig, model=SIXTH) as it:
        wait = 'TOOL:collaboration.wait_agent {"timeout_ms": 60000}'
        one = await it.deliver(f"SPAWN:helper SLOW:1;;SAY:child done\n{wait}\nSAY:parent done")
        started = await it.event(SubagentStarted)
        assert started.label == "helper"
        assert (await it.ended(one)).result == "parent done"
        kinds = [type(event) for event in it.events]
        assert kinds.index(SubagentStarted) < kinds.index(SubagentEnded) < kinds.index(TurnEnded)
        assert [event.id for event in told(it, SubagentEnded)] == [started.id]  # type: ignore[attr-defined]
        await until(lambda: it.process.state is ProcessState.IDLE)


async def test_a_turn_that_does_not_wait_ends_with_its_sub_agent_and_the_next_message_after_it(rig: Rig) -> None:
    async with running(rig, model=SIXTH) as it:
        one = await it.deliver("SPAWN:helper SLOW:3;;SAY:child done\nSAY:parent done")
        await it.event(SubagentStarted)
        process = it.process
        assert isinstance(process, CodexProcess)
        await until(lambda: process._link.tracker.only_agents)
        assert it.process.state is ProcessState.BUSY
        assert isinstance(await it.process.submit(submission("SAY:next")), Held)
        steered = submission("SAY:meanwhile")
        steered = replace(steered, message=msgspec.structs.replace(steered.message, timing=Timing.STEER))
        assert await it.process.submit(steered) == Submitted("turn/start"), "its own thread is free"
        assert (await it.ended(steered)).result == "meanwhile"
        assert (await it.ended(one)).result == "parent done"
        await it.event(SubagentEnded)
        assert (await it.ended(await it.deliver("SAY:next"))).result == "next"
        assert len(told(it, SubagentStarted)) == len(told(it, SubagentEnded)) == 1


async def test_an_interrupt_stops_sub_agents_and_what_they_run(rig: Rig) -> None:
    async with running(rig, model=SIXTH, approval_mode="auto") as it:
        words = ("sleep", str(10_000 + secrets.randbelow(10**6)))
        code = f'JS:await tools.exec_command({{cmd: "exec {" ".join(words)}"}})'
        one = await it.deliver(f"SPAWN:helper {code};;SAY:never\nSAY:parent done")
        await until(lambda: _runs(words), patience_s=30)
        await it.process.interrupt()
        assert (await it.ended(one)).result == "parent done", "its own turn was over before"
        await until(lambda: not _runs(words), patience_s=30)
        assert it.process.state is ProcessState.IDLE and told(it, SubagentEnded)


async def test_a_person_who_interrupts_the_agent_leaves_its_sub_agent_at_work(rig: Rig) -> None:
    async with running(rig, model=SIXTH) as it:
        one = await it.deliver(f"{LONG}\nSLOW:60\nSAY:never")
        await it.event(SubagentStarted)
        process = it.process
        assert isinstance(process, CodexProcess) and process._link.client is not None
        turn = process._link.tracker.turn
        assert turn is not None
        await process._link.client.call("turn/interrupt", {"threadId": process._link.thread, "turnId": turn.id})
        assert (await it.ended(one)).outcome is Outcome.INTERRUPTED
        assert it.process.state is ProcessState.BUSY and not told(it, SubagentEnded)
        await it.process.interrupt()
        assert it.process.state is ProcessState.IDLE


async def test_the_next_runner_knows_what_runs_and_a_restart_leaves_nothing_running(rig: Rig) -> None:
    launched = await launch(rig, model=SIXTH)
    async with connected(rig, launched) as it:
        await it.deliver(f"{LONG}\nSAY:parent done")
        first = await it.event(SubagentStarted)
        await until(lambda: rig.responses is not None and "parent done" in rig.responses.said)
    async with connected(rig, await adopt(rig, launched), adopted=True) as it:
        assert (await it.event(SubagentStarted)).id == first.id
        assert it.process.state is ProcessState.BUSY
        session = it.process
        assert isinstance(session, CodexProcess)
        thread = session._link.thread
    await launched.terminal.terminate(grace_s=0)
    async with running(rig, model=SIXTH, resume_session=thread) as it:
        assert it.process.state is ProcessState.IDLE
        assert not told(it, SubagentStarted)
        assert (await it.ended(await it.deliver("SAY:goes on"))).result == "goes on"
        await it.event(StateChanged, lambda event: event.state is ProcessState.IDLE)


def _runs(words: tuple[str, ...]) -> bool:
    """Say whether a command runs anywhere: inside the sandbox its pid is another one."""
    wanted = "".join(f"{word}\0" for word in words).encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if (folder / "cmdline").read_bytes() == wanted:
                    return True
            except OSError:
                continue
    return False
