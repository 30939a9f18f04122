"""A room over a fake app-server: what an operation asks of the server, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay_runner.providers.base import ProcessState
from relay_runner.providers.codex.client import opened
from relay_runner.providers.codex.memo import Memo
from relay_runner.providers.codex.operations.room import Room
from relay_runner.providers.codex.session import Session
from tests.contract.providers import launch_spec
from tests.unit.providers.codex.server import THREAD, FakeServer, listening


@dataclass
class Made:
    """A room, the server behind it, and what a test decides."""

    room: Room
    server: FakeServer
    state: ProcessState = ProcessState.IDLE
    entered: list[Session] = field(default_factory=list)

    def answers(self, method: str, answer: dict[str, Any] | str) -> None:
        """Let the server answer a method so."""
        self.server.answers[method] = lambda params: answer


@asynccontextmanager
async def room(tmp_path: Path, **changes: Any) -> AsyncIterator[Made]:
    """Connect to a fake server; `changes` are of the launch spec."""
    spec = launch_spec(tmp_path, headless=True, **changes)
    session = Session(THREAD, {"id": THREAD}, [], "start", model="old", settings={"sandbox": "read-only"})
    made: Made

    def heard(method: str, params: Any) -> None:
        made.room.heard(method, params)

    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", heard) as client:
        made = Made(
            Room(
                spec,
                Memo(spec.agent_dir),
                connected=lambda: (client, session),
                state=lambda: made.state,
                enter=lambda joined: made.entered.append(joined),
            ),
            server,
        )
        yield made
