"""The messages of a relay in memory, beyond the contract."""

from __future__ import annotations

import asyncio

from relay_runner.protocol.access import Caller
from relay_runner.protocol.deliveries import RENEWAL_ROUND_S
from relay_runner.protocol.messages import ClaimRequest, NewMessage, State
from relay_runner.protocol.tokens import ADMIN, SEND
from relay_runner.relay.memory.hub import Hub
from tests.contract.relays import Clock, hello

OPERATOR = Caller("person:op", frozenset({SEND, ADMIN}))


def test_the_next_instant_is_the_end_of_a_lease_or_a_delay() -> None:
    clock = Clock()
    hub = Hub(clock)
    hub.join(hello("bob"), asyncio.Queue())
    assert hub.mail.next_due() is None
    message_id = hub.mail.accept(OPERATOR, NewMessage(to="bob", body="x")).message.id
    entry, index = hub.mail.find(message_id, "bob")
    from relay_runner.protocol.deliveries import claim

    granted = claim(entry.deliveries[index], ClaimRequest(agent_id="bob", instance_id="one", lease_s=5), clock())
    assert granted.delivery is not None
    hub.mail.put(entry, index, granted.delivery)
    assert hub.mail.next_due() == clock.now + 5
    clock.now += 5
    hub.sweep()
    assert entry.deliveries[index].state is State.CLAIMED  # it is on the bus
    hub.members.all["bob"].frames = None
    clock.now += RENEWAL_ROUND_S
    hub.sweep()
    assert entry.deliveries[index].state is State.QUEUED and hub.mail.queued("bob") == 1
    assert hub.mail.inherit("bob", "two") == ()
