"""A process over a scripted box, and its files: what the tests of a process and of its start share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.envelope import render
from relay_runner.protocol.messages import Message, Timing
from relay_runner.providers.base import (
    Event,
    HookCall,
    LaunchPlan,
    LaunchSpec,
    Submission,
)
from relay_runner.providers.claude import paste, records, rewake, start
from relay_runner.providers.claude import process as module
from relay_runner.providers.claude.home import ClaudeHome
from relay_runner.providers.claude.process import ClaudeProcess
from relay_runner.terminal.base import Terminal
from tests.unit.providers.claude.box import Box

E = TypeVar("E")
SESSION = "11111111-2222-3333-4444-555555555555"


class Room:
    """A process over a scripted box, with the state file in a temporary home."""

    def __init__(self, folder: Path, *, headless: bool = True) -> None:
        self.home = ClaudeHome.of({"HOME": str(folder)})
        self.folder = folder
        self.box = Box()
        self.events: list[Event] = []
        self.headless = headless
        spec = self.spec()
        plan = LaunchPlan(argv=(), env={}, cwd=folder, session_id=SESSION)
        self.process = ClaudeProcess(spec, plan, cast(Terminal, self.box), self.events.append, self.home, adopted=False)

    def spec(self, process_id: str = "p") -> LaunchSpec:
        """Return how the process was started."""
        return LaunchSpec(
            agent_id="a",
            runner_id="r",
            cwd=self.folder,
            agent_dir=self.folder,
            control=ControlEndpoint(url="", port=1, secret="s", provider_session_id=process_id),
            environ={"HOME": str(self.folder)},
            headless=self.headless,
        )

    def status(self, status: str, waiting_for: str | None = None) -> None:
        file = self.home.state_file(os.getpid())
        file.parent.mkdir(parents=True, exist_ok=True)
        fields = {"pid": os.getpid(), "sessionId": SESSION, "status": status, "statusUpdatedAt": time.time() * 1000}
        file.write_text(json.dumps({**fields, "waitingFor": waiting_for}))

    async def hook(self, name: str, **payload: Any) -> Any:
        return (await self.process.hook(HookCall(name, {"session_id": SESSION, **payload}, asyncio.Event()))).body

    def told(self, type_: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, type_)]

    @property
    def transcript(self) -> Path:
        folder = re.sub(r"[^A-Za-z0-9]", "-", str(self.folder.resolve()))
        return self.home.config_dir / "projects" / folder / f"{SESSION}.jsonl"

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
    monkeypatch.setattr(start, "HOOKS_S", 0.05)
    monkeypatch.setattr(start, "DRAWN_S", 0.05)
    monkeypatch.setattr(records, "LATE_S", 0.1)
    monkeypatch.setattr(module, "INTERRUPT_S", 0.05)
    yield Room(tmp_path)


@contextlib.asynccontextmanager
async def watched(room: Room) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(room.process.watch())
        yield
        watching.cancel()


def message(*, operator: bool = False, timing: Timing = Timing.QUEUE, body: str = "text") -> Submission:
    now = 1_800_000_000.0
    one = Message(
        id=1, sender="agent:b", to="a", body=body, created_at=now, expires_at=now, operator=operator, timing=timing
    )
    return Submission(one, "n1", render(one, "n1"))
