"""Who says a runner's first prompt."""

from __future__ import annotations

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
    await foreground.speaker(ACCESS)(NewMessage(to="bob", body="begin"))
    (sent,) = await world.person.messages(MessageQuery())
    assert (sent.message.sender, sent.message.operator) == ("person:operator", True)
