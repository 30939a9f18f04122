"""A runner's first prompt."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay_runner.cli import foreground
from relay_runner.cli.choices import Request
from relay_runner.cli.compose import RelayAccess
from relay_runner.errors import RelayUnavailable
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.messages import MessageQuery
from relay_runner.relay.endpoint import fixed
from relay_runner.runner.options import RunnerOptions
from tests.unit.cli.conftest import URL, World

pytestmark = pytest.mark.anyio
ACCESS = RelayAccess(URL, "", fixed(URL, ""), embedded=True)


@pytest.fixture
def request_for_bob(tmp_path: Path) -> Request:
    return Request(RunnerOptions(agent_id="bob", provider="demo", cwd=tmp_path, prompt="begin"))


def failing(world: World, monkeypatch: pytest.MonkeyPatch, method: str, *errors: Exception) -> None:
    """Let a call to the relay fail with these errors before it works."""
    works, left = getattr(world.person, method), list(errors)

    async def call(*args: Any) -> Any:
        if left:
            raise left.pop(0)
        return await works(*args)

    monkeypatch.setattr(world.person, method, call)
    monkeypatch.setattr(foreground, "RETRY_S", 0.0)


def ready(session_id: str | None) -> asyncio.Future[RunnerInfo]:
    future: asyncio.Future[RunnerInfo] = asyncio.get_running_loop().create_future()
    future.set_result(
        RunnerInfo(
            agent_id="bob",
            runner_id="r",
            instance_id="i",
            provider="demo",
            control_url="u",
            pid=1,
            started_at=1.0,
            cwd="/",
            session_id=session_id,
        )
    )
    return future


async def test_the_first_prompt_is_sent_once_per_session(
    world: World, request_for_bob: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.agent("bob")
    failing(world, monkeypatch, "send", RelayUnavailable("gone"))
    for session_id in ("s1", "s1", "s2"):
        await foreground._prompt(request_for_bob.options, ACCESS, ready(session_id), lambda text: None)
    sent = await world.person.messages(MessageQuery())
    assert [one.message.body for one in sent] == ["begin", "begin"]
    assert all(one.message.operator for one in sent)


async def test_a_refused_prompt_is_told(world: World, request_for_bob: Request) -> None:
    told: list[str] = []
    await foreground._prompt(request_for_bob.options, ACCESS, ready("s"), told.append)
    assert len(told) == 1 and told[0].startswith("the first prompt was not sent: ")
