"""Commands and tokens of a relay in memory, beyond the contract."""

from __future__ import annotations

import asyncio

import pytest

from relay_runner.errors import RelayNotFound, RelayUnauthorized
from relay_runner.protocol.access import Caller
from relay_runner.protocol.commands import CommandState, NewCommand
from relay_runner.protocol.tokens import ADMIN, SEND
from relay_runner.relay.memory.hub import Hub
from tests.contract.relays import Clock, hello

OPERATOR = Caller("person:op", frozenset({SEND, ADMIN}))


def test_an_order_fails_in_time_and_is_not_for_strangers() -> None:
    clock = Clock()
    hub = Hub(clock)
    hub.join(hello("bob"), asyncio.Queue())
    command = hub.ledger.command(OPERATOR, NewCommand(type="agent.kill", target="bob", timeout_s=5))
    with pytest.raises(RelayNotFound):
        hub.ledger.get_command(Caller("agent:eve", frozenset({"agent:eve"})), command.id)
    clock.now += 5
    hub.sweep()
    assert hub.ledger.get_command(OPERATOR, command.id).state is CommandState.FAILED


def test_a_token_is_good_until_its_end_or_its_revocation() -> None:
    clock = Clock()
    ledger = Hub(clock).ledger
    grant = ledger.grant(OPERATOR, 10.0)
    assert ledger.holder(grant.token).jti == grant.jti
    clock.now += 10
    with pytest.raises(RelayUnauthorized):
        ledger.holder(grant.token)
    assert ledger.holder(grant.token, grace_s=1.0).subject == "person:op"
    ledger.revoke(grant.jti)
    with pytest.raises(RelayUnauthorized):
        ledger.holder(grant.token, grace_s=1.0)
