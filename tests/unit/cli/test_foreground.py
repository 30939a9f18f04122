"""Who says a runner's first prompt, and when another runner is replaced."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from relay_runner.cli import foreground, local
from relay_runner.cli.agent_token import AgentToken
from relay_runner.cli.choices import Request
from relay_runner.cli.compose import RelayAccess
from relay_runner.config import Paths, private_dir
from relay_runner.errors import RelayUnauthorized
from relay_runner.protocol.messages import MessageQuery, NewMessage
from relay_runner.relay.endpoint import fixed
from relay_runner.runner.lock import AgentLock
from relay_runner.runner.options import RunnerOptions
from tests.unit.cli.conftest import URL, World

pytestmark = pytest.mark.anyio
ACCESS = RelayAccess(URL, "", fixed(URL, ""), embedded=True)


async def test_it_is_the_persons_word_and_not_the_agents(world: World) -> None:
    world.agent("bob")
    say = foreground.speaker(ACCESS, "bob")
    assert say is not None
    await say(NewMessage(to="bob", body="begin"))
    (sent,) = await world.person.messages(MessageQuery())
    assert (sent.message.sender, sent.message.operator) == ("person:operator", True)


async def test_a_token_that_is_the_agents_own_speaks_for_nobody() -> None:
    claims = base64.urlsafe_b64encode(b'{"sub": "agent:bob"}').decode()
    own = replace(ACCESS, token=f"x.{claims}.x")
    assert foreground.speaker(own, "bob") is None
    assert foreground.speaker(own, "eve") is not None


async def test_who_has_no_token_does_not_take_the_agent_from_the_runner_that_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(state=tmp_path, config=tmp_path)
    private_dir(paths.agent("bob").root)
    signalled: list[object] = []

    async def refused(token: AgentToken, tell: object) -> object:
        raise RelayUnauthorized("the token was revoked")

    monkeypatch.setattr(AgentToken, "first", refused)
    monkeypatch.setattr(local, "signal_runner", lambda *told: signalled.append(told))
    options = RunnerOptions(agent_id="bob", provider="demo", cwd=tmp_path, replace=True)
    with AgentLock(paths.agent("bob").lock, "bob"), pytest.raises(RelayUnauthorized):
        await foreground.run(Request(options), paths)
    assert signalled == []
