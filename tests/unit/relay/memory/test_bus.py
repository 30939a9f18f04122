"""The bus of a relay in memory looks at the clock by itself."""

from __future__ import annotations

import asyncio

import pytest

from relay_runner.errors import RelayUnavailable
from relay_runner.protocol.frames import Heartbeat, MessageNew
from relay_runner.protocol.messages import ClaimRequest, NewMessage, Release
from relay_runner.relay.memory.hub import Hub
from relay_runner.relay.memory.relay import MemoryRelay
from tests.contract.relays import WAIT_S, hello

pytestmark = pytest.mark.anyio


async def test_a_delay_that_ends_is_pushed_without_being_asked() -> None:
    hub = Hub()
    operator, bob = MemoryRelay(hub), MemoryRelay.of_agent("bob", hub)
    async with bob.connect(hello("bob")) as bus, asyncio.timeout(WAIT_S):
        frames = aiter(bus)
        message_id = (await operator.send(NewMessage(to="bob", body="x"))).message.id
        assert isinstance(await anext(frames), MessageNew)
        await bob.claim(message_id, ClaimRequest(agent_id="bob", instance_id="one"))
        release = Release(agent_id="bob", instance_id="one", attempt=1, reason="busy", delay_s=0.05)
        await bob.release(message_id, release)
        frame = await anext(frames)
        assert isinstance(frame, MessageNew) and frame.delivery.attempt == 2


async def test_a_bus_that_was_replaced_takes_nothing_more() -> None:
    bob = MemoryRelay.of_agent("bob", Hub())
    async with bob.connect(hello("bob")) as first, bob.connect(hello("bob")) as second:
        with pytest.raises(RelayUnavailable):
            await first.send(Heartbeat(at=1.0))
        await second.send(Heartbeat(at=1.0))
        with pytest.raises(RelayUnavailable):
            await anext(aiter(first))
