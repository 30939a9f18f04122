"""One store over its life: made once, opened again, tidied."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import StoreError
from relay_runner.protocol.agents import AgentState
from relay_runner.protocol.messages import MessageQuery
from relay_runner.server.store.sqlite import SqliteStore
from relay_runner.server.store.tidy import EVENTS_KEPT_S
from tests.contract.relays import Clock
from tests.unit.server.store.world import OPERATOR_CALLER, keeping

pytestmark = pytest.mark.anyio


async def test_a_store_is_itself_again_when_it_is_opened_again(tmp_path: Path) -> None:
    clock = Clock()
    async with keeping(tmp_path, clock) as keeper:
        await keeper.join("bob")
        await keeper.post("bob")
        name, key = keeper.store.relay_id, keeper.store.signing_key
        assert len(key) == 32
    clock.now += 10
    async with keeping(tmp_path, clock) as keeper:
        assert (keeper.store.relay_id, keeper.store.signing_key) == (name, key)
        agent = await keeper.store.agent("bob")
        # It may be on its way back: it has the time of a silence, counted from the start of the relay.
        assert (agent.connected, agent.status.agent_status, agent.queued) == (False, AgentState.IDLE, 1)
        assert await keeper.store.sweep() == pytest.approx(clock.now + 45)
        assert len(await keeper.store.records(OPERATOR_CALLER, MessageQuery())) == 1
    assert (tmp_path / "relay.db").stat().st_mode & 0o777 == 0o600


async def test_old_events_are_forgotten_before_messages(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        await keeper.post("bob", idempotency_key="k")
        keeper.clock.now += EVENTS_KEPT_S + 1
        await keeper.post("bob")
        last = await keeper.store.last_event()
        await keeper.store.tidy()
        assert [event.seq for event in await keeper.store.events_after(0, 100)] == [last - 1, last]
        assert len(await keeper.store.records(OPERATOR_CALLER, MessageQuery())) == 2
        await keeper.post("bob")
        assert await keeper.store.last_event() == last + 2


async def test_a_file_that_is_no_store_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "relay.db").write_bytes(b"x" * 5000)
    with pytest.raises(StoreError, match=r"relay\.db"):
        async with SqliteStore(tmp_path / "relay.db"):
            raise AssertionError("opened")


async def test_counts_are_of_what_is_there(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        await keeper.join("ann")
        await keeper.store.leave("ann", "bus-ann-one")
        await keeper.post("broadcast")
        counts = await keeper.store.counts()
        assert (counts.agents, counts.connected, counts.queued) == (2, 1, 2)
