"""One running demo agent: what a person does beside the runner, and its operations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay_runner.errors import ProviderExited, ProviderRefused, ProviderUnsupported, TerminalError
from relay_runner.providers.base import Held, ProcessState, SessionStarted, StateChanged
from relay_runner.providers.beside import beside
from relay_runner.providers.demo_process import OPERATIONS, DemoProcess
from relay_runner.terminal.base import Key, Screen, TerminalSpec
from tests.contract.providers import Running, adopt, connected, demo_rig, launch, running, submission
from tests.scripted import ScriptedTerminal
from tests.terminals import shown, sockets, until

pytestmark = pytest.mark.anyio
__all__ = ["sockets"]


class Unseen(ScriptedTerminal):
    """A terminal that does not answer; its program lives."""

    def __init__(self) -> None:
        super().__init__(TerminalSpec(("x",), {}, Path("/"), Path("/"), "x"), 1)

    async def capture(self) -> Screen:
        raise TerminalError("tmux did not answer within 10 s")


async def enter(it: Running, line: str) -> None:
    await it.terminal.type(line)
    await it.terminal.press(Key.ENTER)


async def test_what_a_person_types_is_a_turn_too(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig, running(rig) as it:
        await it.terminal.type("slow 1 by hand")
        await it.terminal.press(Key.ENTER)
        await it.event(StateChanged, lambda event: event.state is ProcessState.BUSY)
        await shown(it.terminal, "by hand")
        await until(lambda: it.process.state is ProcessState.IDLE)


async def test_a_person_clears_it_and_messages_go_on_in_the_new_session(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig, running(rig) as it:
        first = (await it.event(SessionStarted)).session_id
        await enter(it, "/clear")
        second = await it.event(SessionStarted, lambda event: event.session_id != first)
        assert second.source == "clear"
        one = await it.deliver("echo in the new one")
        assert (await it.ended(one)).result == "in the new one"


async def test_a_runner_that_was_away_while_it_was_cleared_follows_it(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig:
        launched = await launch(rig)
        async with connected(rig, launched) as it:
            first = (await it.event(SessionStarted)).session_id
        await enter(it, "/clear")
        await shown(launched.terminal, "[clear]")
        async with connected(rig, await adopt(rig, launched), adopted=True) as again:
            await again.event(SessionStarted, lambda event: event.session_id != first)
            one = await again.deliver("echo found")
            assert (await again.ended(one)).result == "found"


async def test_a_persons_half_typed_line_is_not_operated_into(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig, running(rig) as it:
        await it.terminal.type("draft")
        await shown(it.terminal, "demo> draft")
        for action in OPERATIONS:
            with pytest.raises(ProviderRefused, match="person typing"):
                await it.process.operate(action, {"content": "x"})
        await shown(it.terminal, "demo> draft")


async def test_a_terminal_that_cannot_be_seen_holds_a_message(tmp_path: Path) -> None:
    records = [
        {"type": "session", "session": "s", "process": "p", "resumed": False},
        {"type": "state", "state": "idle", "detail": None},
    ]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    process = DemoProcess(tmp_path / "s.jsonl", "p", Unseen(), lambda event: None)
    async with beside(process.follow()):
        await process.ready()
        assert await process.submit(submission("echo x")) == Held("tmux did not answer within 10 s")


async def test_what_it_does_not_know_it_refuses(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig, running(rig) as it:
        assert it.process.operations.keys() == {"compact", "clear", "inject"}
        with pytest.raises(ProviderUnsupported, match="cannot review"):
            await it.process.operate("review", {})


async def test_a_program_that_ended_says_so(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig, running(rig) as it:
        await it.terminal.terminate()
        with pytest.raises((ProviderRefused, ProviderExited), match="compact"):
            await it.process.operate("compact", {})
