"""The live view's loop on a relay in memory, with a pty where a person would sit."""

from __future__ import annotations

import asyncio
import io
import os
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from relay_runner.cli.dashboard.live import Dashboard
from relay_runner.errors import ConfigError, RelayUnavailable
from relay_runner.protocol.agents import Agent
from relay_runner.protocol.messages import NewMessage
from relay_runner.protocol.permissions import Decision, NewPermission, PermissionState
from relay_runner.relay.memory.hub import Hub
from relay_runner.relay.memory.relay import MemoryRelay
from tests.terminals import until
from tests.unit.cli.conftest import hello

pytestmark = pytest.mark.anyio
PATIENCE_S = 20.0


class Wavering(MemoryRelay):
    """A relay that can be away."""

    away = False

    async def agents(self) -> list[Agent]:
        if self.away:
            raise RelayUnavailable("nobody is at home")
        return await super().agents()


@dataclass
class Desk:
    """A person before the live view."""

    relay: Wavering
    person: int
    screen: io.StringIO
    attached: list[str] = field(default_factory=list)

    def types(self, text: str) -> None:
        os.write(self.person, text.encode())

    async def sees(self, *texts: str) -> None:
        """Wait until a frame with all of this was drawn after now."""
        begin = len(self.screen.getvalue())
        await until(lambda: all(text in self.screen.getvalue()[begin:] for text in texts))


@asynccontextmanager
async def sitting(hub: Hub) -> AsyncIterator[tuple[Desk, asyncio.Task[None]]]:
    """Run the live view; it must give the terminal back as it was."""
    person, terminal = os.openpty()
    before = termios.tcgetattr(terminal)
    desk = Desk(Wavering(hub), person, io.StringIO())

    async def show(agent_id: str) -> None:
        desk.attached.append(agent_id)
        assert termios.tcgetattr(terminal) == before, "the terminal is the agent's for so long"
        if agent_id == "gone":
            raise ConfigError("gone does not run")

    console = Console(file=desk.screen, force_terminal=True, width=100, height=30, highlight=False)
    dashboard = Dashboard(desk.relay, console, show, terminal=terminal)
    task = asyncio.create_task(dashboard.run())
    try:
        yield desk, task
        if not task.done():
            desk.types("q")
        async with asyncio.timeout(PATIENCE_S):
            await task
        assert termios.tcgetattr(terminal) == before
    finally:
        task.cancel()
        os.close(person)
        os.close(terminal)


@pytest.fixture
def hub() -> Hub:
    made = Hub()
    made.join(hello("alice"), asyncio.Queue())
    return made


async def ask(hub: Hub, id: str = "p-1") -> None:
    """Let alice ask for something."""
    decisions = (Decision.APPROVE, Decision.APPROVE_SESSION, Decision.DENY)
    new = NewPermission(
        id=id, agent_id="alice", instance_id="i1", kind="command", title="make it so", decisions=decisions
    )
    await MemoryRelay.of_agent("alice", hub).open_permission(new)


async def test_what_happens_is_shown_at_once(hub: Hub) -> None:
    async with sitting(hub) as (desk, _):
        await desk.sees("alice", "none yet")
        await MemoryRelay(hub).send(NewMessage(to="alice", body="good morning"))
        await desk.sees("good morning", "queued")
        hub.join(hello("bob"), asyncio.Queue())
        await desk.sees("bob")
        await ask(hub)
        await desk.sees("make it so", "1 waits for an answer")


@pytest.mark.parametrize(
    ("typed", "decision", "reason"),
    [("y", Decision.APPROVE, None), ("s", Decision.APPROVE_SESSION, None), ("ntoo wide\r", Decision.DENY, "too wide")],
)
async def test_an_answer_reaches_the_relay(hub: Hub, typed: str, decision: Decision, reason: str | None) -> None:
    await ask(hub)
    relay = MemoryRelay(hub)
    async with sitting(hub) as (desk, _):
        await desk.sees("make it so")
        desk.types(typed)
        await desk.sees(str(decision))
        permission = await relay.permission("p-1")
        assert (permission.state, permission.decision, permission.reason) == (PermissionState.DECIDED, decision, reason)


async def test_enter_gives_the_terminal_to_the_agent_and_takes_it_back(hub: Hub) -> None:
    hub.join(hello("gone"), asyncio.Queue())
    async with sitting(hub) as (desk, _):
        await desk.sees("alice", "gone")
        desk.types("\r")
        await desk.sees("alice")
        assert desk.attached == ["alice"]
        desk.types("\x1b[B\r")
        await desk.sees("gone does not run")
        assert desk.attached == ["alice", "gone"]


async def test_an_escape_alone_leaves(hub: Hub) -> None:
    async with sitting(hub) as (desk, task):
        await desk.sees("alice")
        desk.types("\x1b")
        async with asyncio.timeout(PATIENCE_S):
            await task


async def test_a_relay_that_does_not_answer_is_said_and_comes_back(hub: Hub) -> None:
    async with sitting(hub) as (desk, _):
        await desk.sees("alice")
        desk.relay.away = True
        await MemoryRelay(hub).send(NewMessage(to="alice", body="good morning"))
        await desk.sees("nobody is at home", "alice")
        desk.relay.away = False
        await desk.sees("good morning")
