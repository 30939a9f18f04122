"""How a test makes a relay in memory; the contract suite says what it does."""

from __future__ import annotations

import pytest

from relay_runner.errors import RelayUnauthorized
from relay_runner.protocol.commands import NewCommand
from relay_runner.protocol.messages import MessageQuery, NewMessage
from relay_runner.protocol.tokens import TokenRequest
from relay_runner.relay.memory.hub import Hub
from relay_runner.relay.memory.relay import MemoryRelay
from tests.contract.relays import hello

pytestmark = pytest.mark.anyio


async def test_without_more_it_is_an_operators() -> None:
    async with MemoryRelay() as relay:
        await relay.send(NewMessage(to="person:ann", body="x"))
        assert len(await relay.messages(MessageQuery())) == 1


async def test_several_relays_share_a_hub() -> None:
    hub = Hub()
    operator, bob = MemoryRelay(hub), MemoryRelay.of_agent("bob", hub)
    async with bob.connect(hello("bob")):
        sent = await operator.send(NewMessage(to="bob", body="x"))
        assert (await bob.message(sent.message.id)).message == sent.message
        with pytest.raises(RelayUnauthorized):
            await bob.command(NewCommand(type="agent.kill", target="bob"))


async def test_a_token_makes_it_somebody_else() -> None:
    hub = Hub()
    operator = MemoryRelay(hub)
    grant = await operator.issue_token(TokenRequest(subject="agent:bob", scopes=("agent:bob",)))
    relay = MemoryRelay(hub)
    relay.use_token(grant.token)
    with pytest.raises(RelayUnauthorized):
        await relay.send(NewMessage(to="person:ann", body="x"))
