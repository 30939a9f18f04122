"""Who says a runner's first prompt."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from relay_runner.cli import foreground
from relay_runner.cli.compose import RelayAccess
from relay_runner.protocol.messages import MessageQuery, NewMessage
from relay_runner.relay.endpoint import fixed
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
