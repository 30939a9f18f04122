"""Presence, instances, and the words about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ClaimLost, RelayNotFound
from relay_runner.protocol.agents import OFFLINE_AFTER_S, AgentState, Status
from relay_runner.protocol.messages import ClaimRequest
from relay_runner.server.store.agents import BUS_GRACE_S
from relay_runner.server.store.writer import Transaction
from tests.unit.server.store.world import keeping

pytestmark = pytest.mark.anyio


async def test_a_bus_that_comes_back_in_time_does_not_flap(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        await keeper.store.leave("bob", "bus-bob-one")
        assert not (await keeper.store.agent("bob")).connected
        keeper.clock.now += BUS_GRACE_S / 2
        await keeper.join("bob")
        keeper.clock.now += BUS_GRACE_S
        await keeper.store.sweep()
        agent = await keeper.store.agent("bob")
        assert agent.connected and agent.status.agent_status is AgentState.IDLE
        assert "offline" not in [change.event.data.get("action") for change in keeper.changes]


async def test_the_end_of_an_older_bus_is_not_the_end_of_the_newer(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        await keeper.join("bob", "two")
        await keeper.store.leave("bob", "bus-bob-one")
        assert (await keeper.store.agent("bob")).connected


async def test_silence_is_offline_and_any_word_is_a_sign_of_life(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        assert await keeper.store.sweep() == pytest.approx(keeper.clock.now + OFFLINE_AFTER_S)
        message_id = await keeper.post("bob")
        keeper.clock.now += OFFLINE_AFTER_S - 1
        await keeper.store.claim(message_id, ClaimRequest(agent_id="bob", instance_id="one"))
        keeper.clock.now += OFFLINE_AFTER_S - 1
        await keeper.store.sweep()
        assert (await keeper.store.agent("bob")).status.agent_status is AgentState.IDLE
        keeper.clock.now += 1
        await keeper.store.sweep()
        assert (await keeper.store.agent("bob")).status.agent_status is AgentState.OFFLINE
        await keeper.store.renew(message_id, ClaimRequest(agent_id="bob", instance_id="one"))
        assert (await keeper.store.agent("bob")).status.agent_status is AgentState.IDLE
        actions = [change.event.data["action"] for change in keeper.changes if change.event.type == "agent"]
        assert actions == ["joined", "offline", "online"]


async def test_an_instance_of_the_past_stays_there(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        for instance_id in ("one", "two", "three"):
            await keeper.join("bob", instance_id)
        for instance_id in ("one", "two"):
            with pytest.raises(ClaimLost, match="three"):
                await keeper.join("bob", instance_id)
            with pytest.raises(ClaimLost):
                await keeper.store.heartbeat("bob", instance_id)
        await keeper.join("bob", "three")


async def test_a_removed_agent_comes_back_as_itself(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        await keeper.store.remove_agent("bob")
        for call in (keeper.store.agent("bob"), keeper.store.remove_agent("bob"), keeper.store.heartbeat("bob", "one")):
            with pytest.raises(RelayNotFound):
                await call
        await keeper.join("bob", "two")
        assert (await keeper.store.agent("bob")).instance_id == "two"


async def test_a_status_costs_the_same_however_many_replies_are_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    run = Transaction.run

    def note(tx: Transaction, name: str, parameters: Any = ()) -> Any:
        asked.append(name)
        return run(tx, name, parameters)

    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        monkeypatch.setattr(Transaction, "run", note)
        await keeper.store.put_status("bob", "one", Status())
        assert "put_status" in asked and "obligation_counts" not in asked
        await keeper.store.agent("bob")
        assert "obligation_counts" in asked, "who asks for the agent is told"
