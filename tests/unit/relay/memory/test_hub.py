"""Several people on one relay in memory."""

from __future__ import annotations

import asyncio

from relay_runner.protocol.agents import AgentState
from relay_runner.relay.memory.hub import Hub
from tests.contract.relays import Clock, hello


def test_an_agent_is_seen_as_long_as_it_is_heard() -> None:
    clock = Clock()
    hub = Hub(clock)
    assert hub.join(hello("bob"), asyncio.Queue()) == ()
    assert hub.agent("bob").status.agent_status is AgentState.IDLE
    clock.now += 45
    assert hub.agent("bob").status.agent_status is AgentState.OFFLINE
    hub.members.current("bob", "one")
    assert hub.agent("bob").status.agent_status is AgentState.IDLE
