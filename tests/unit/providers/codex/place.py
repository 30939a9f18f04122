"""A Codex process over a fake app-server, and everything it said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from relay_runner.providers.base import Event, LaunchPlan, ProcessState, Seen, Tools
from relay_runner.providers.codex.launch import SOCKET
from relay_runner.providers.codex.process import CodexProcess
from relay_runner.providers.codex.provider import CodexProvider
from relay_runner.terminal.base import ExitStatus, Screen, Terminal
from tests.contract.providers import launch_spec
from tests.terminals import until
from tests.unit.providers.codex.server import FakeServer, listening

E = TypeVar("E", bound=Event)
ACTIVE: dict[str, Any] = {"type": "active", "activeFlags": []}


class Pane:
    """A terminal whose program is as alive as the test says."""

    def __init__(self) -> None:
        self.living = True
        self.shown: list[tuple[str, ...]] = []

    async def show(self, viewer: tuple[str, ...]) -> None:
        self.shown.append(viewer)

    def alive(self) -> bool:
        return self.living

    async def wait_exit(self) -> ExitStatus:
        return ExitStatus(1)

    async def capture(self) -> Screen:
        return Screen(lines=("Error: the last word",))


@dataclass
class Place:
    """A process over a fake app-server, and everything it said."""

    process: CodexProcess
    server: FakeServer
    pane: Pane
    events: list[Event]

    def told(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def begins(self, nonce: str | None, turn: str = "t1") -> None:
        """Let a turn begin that a message opens."""
        await self.server.tell("thread/status/changed", status=ACTIVE)
        await self.server.tell("turn/started", turn={"id": turn})
        await self.server.tell("item/started", turnId=turn, item={"type": "userMessage", "clientId": nonce})
        await until(lambda: self.process.state is ProcessState.BUSY)
        await until(lambda: nonce is None or nonce in [event.nonce for event in self.told(Seen)])

    async def ends(self, status: str = "completed", turn: str = "t1") -> None:
        await self.server.tell("thread/status/changed", status={"type": "idle"})
        await self.server.tell("turn/completed", turn={"id": turn, "status": status, "items": []})
        await until(lambda: self.process.state is ProcessState.IDLE)


@asynccontextmanager
async def watched(
    tmp_path: Path,
    *,
    adopted: bool = False,
    session: str | None = None,
    tools: Tools | None = None,
    headless: bool = True,
) -> AsyncIterator[Place]:
    """Watch; nobody listens yet."""
    spec = launch_spec(tmp_path, headless=headless, tools=tools)
    plan = LaunchPlan(("/bin/codex",), {}, tmp_path, session_id=session, resumed=session is not None)
    events: list[Event] = []
    pane = Pane()
    connection = CodexProvider().connect(spec, plan, cast(Terminal, pane), events.append, adopted=adopted)
    async with connection as process:
        yield Place(cast(CodexProcess, process), FakeServer(), pane, events)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    socket = launch_spec(tmp_path).agent_dir / SOCKET
    async with listening(socket) as server, watched(tmp_path) as made:
        made.server = server
        await made.process.ready()
        yield made
