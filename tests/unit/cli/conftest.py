"""The command line over a relay in memory: the same words as over the real one, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relay_runner import config
from relay_runner.cli import app, compose
from relay_runner.protocol.frames import Hello
from relay_runner.protocol.messages import MessageRecord, NewMessage, Outcome, Receipt, State
from relay_runner.relay.endpoint import fixed
from relay_runner.relay.memory.hub import Hub
from relay_runner.relay.memory.relay import MemoryRelay

URL = "http://relay.invalid"


@dataclass
class World:
    """A relay in memory, what is on it, and the command line of a person who uses it."""

    hub: Hub
    person: MemoryRelay
    paths: config.Paths
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: str, code: int = 0) -> tuple[str, str]:
        """Run one command and return what it said on stdout and stderr."""
        assert app.run(words) == code, self.capsys.readouterr()
        said = self.capsys.readouterr()
        return said.out, said.err

    def json(self, *words: str, code: int = 0) -> Any:
        """Run one command with `--json` and return its answer."""
        return json.loads(self.run(*words, "--json", code=code)[0])

    def agent(self, agent_id: str, **fields: Any) -> MemoryRelay:
        """Make the relay know an agent, and return the relay as that agent sees it."""
        self.hub.join(hello(agent_id, **fields), asyncio.Queue())
        return MemoryRelay.of_agent(agent_id, self.hub)

    def send(self, to: str, body: str, **fields: Any) -> MessageRecord:
        """Post a message as the person."""
        return asyncio.run(self.person.send(NewMessage(to=to, body=body, **fields)))


def hello(agent_id: str, **fields: Any) -> Hello:
    """Return what an agent's runner says first."""
    known = {"instance_id": "i1", "runner_id": "r1", "provider": "demo", "machine": "here", "version": "1"}
    return Hello(agent_id=agent_id, **{**known, **fields})


async def carry(
    relay: MemoryRelay, agent_id: str, message_id: int, outcome: Outcome, result: str | None, **end: Any
) -> None:
    """Report a whole turn that carried a message; `end` are more fields of its last receipt."""
    for state in (State.SUBMITTING, State.SUBMITTED, State.SEEN, State.DONE):
        done = state is State.DONE
        receipt = Receipt(
            agent_id=agent_id, instance_id="i1", attempt=1, state=state, nonce="n0nce", evidence="test",
            outcome=outcome if done else None, result=result if done else None, **(end if done else {}),
        )  # fmt: skip
        await relay.receipt(message_id, receipt)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> World:
    """Give a home whose relay is in memory."""
    monkeypatch.setenv(config.HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(config.INSIDE_VARIABLE, raising=False)
    hub = Hub()
    person = MemoryRelay(hub)

    async def access(*_: object, **__: object) -> compose.RelayAccess:
        return compose.RelayAccess(URL, "", fixed(URL, ""), embedded=True)

    relay_at: Callable[[compose.RelayAccess], MemoryRelay] = lambda found: person  # noqa: E731 - a seam, not a function
    monkeypatch.setattr(compose, "access", access)
    monkeypatch.setattr(compose, "relay_at", relay_at)
    monkeypatch.setattr(compose, "me", lambda found: "person:operator")
    return World(hub, person, config.paths(), capsys)
