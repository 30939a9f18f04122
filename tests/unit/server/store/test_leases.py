"""What runs goes on over a jump of the clock, and over a relay that was away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay_runner.protocol.agents import AgentState
from relay_runner.protocol.commands import CommandState, NewCommand
from relay_runner.protocol.deliveries import MAX_LEASE_S, RENEWAL_ROUND_S
from relay_runner.protocol.messages import ClaimRequest, Receipt, Release, State
from relay_runner.server.store.sqlite import SqliteStore
from tests.contract.relays import Clock
from tests.unit.server.store.world import OPERATOR_CALLER, Keeper, keeping

pytestmark = pytest.mark.anyio
BOB = {"agent_id": "bob", "instance_id": "one"}


@asynccontextmanager
async def holding(folder: Path, lease_s: float = 900.0) -> AsyncIterator[tuple[Keeper, Clock, int]]:
    """Open a store with two clocks, and an agent without a bus that has a message in its program."""
    wall, steady = Clock(), Clock()
    async with SqliteStore(folder / "relay.db", wall, steady) as store:
        keeper = Keeper(store, wall)
        await keeper.join("bob")
        message_id = await keeper.post("bob")
        await store.receipt(message_id, Receipt(**BOB, attempt=1, state=State.SUBMITTING, lease_s=lease_s))  # type: ignore[arg-type]
        await keeper.leave("bob")
        yield keeper, steady, message_id


@pytest.mark.parametrize("jump", [1300.0, -1300.0, 30 * 24 * 3600.0])
async def test_a_lease_has_as_long_to_go_after_a_jump_as_before(tmp_path: Path, jump: float) -> None:
    async with holding(tmp_path) as (keeper, steady, id):
        for clock in (keeper.clock, steady):
            clock.now += 300
        keeper.clock.now += jump
        assert (await keeper.delivery(id)).state is State.SUBMITTING, "whoever reads is told so before the sweep, too"
        await keeper.store.sweep()
        delivery = await keeper.delivery(id)
        assert delivery.state is State.SUBMITTING
        assert delivery.claim_expires_at == pytest.approx(keeper.clock.now + 600)
        for clock in (keeper.clock, steady):
            clock.now += 601
        await keeper.store.sweep()
        assert (await keeper.delivery(id)).state is State.UNKNOWN


async def test_a_lease_about_to_end_gets_a_round_of_renewals_first(tmp_path: Path) -> None:
    async with holding(tmp_path, lease_s=60) as (keeper, steady, id):
        for clock in (keeper.clock, steady):
            clock.now += 59
        keeper.clock.now += 1300
        request = ClaimRequest(**BOB, attempt=1, lease_s=60)  # type: ignore[arg-type]
        # Not even a sweep came before: the first thing that the relay does after the jump is this.
        renewed = await keeper.store.renew(id, request)
        assert renewed.claim_expires_at == keeper.clock.now + 60
        for clock in (keeper.clock, steady):
            clock.now += 59
        keeper.clock.now += 1300
        await keeper.store.sweep()
        assert (await keeper.delivery(id)).claim_expires_at == pytest.approx(keeper.clock.now + RENEWAL_ROUND_S)


async def test_other_times_that_run_go_on_as_well(tmp_path: Path) -> None:
    async with holding(tmp_path) as (keeper, _, id):
        await keeper.store.release(id, Release(**BOB, attempt=1, reason="busy", delay_s=100.0))  # type: ignore[arg-type]
        command = await keeper.store.command(OPERATOR_CALLER, NewCommand(type="agent.kill", target="bob", timeout_s=10))
        keeper.clock.now += 1300
        await keeper.store.sweep()
        delivery = await keeper.delivery(id)
        assert delivery.not_before == pytest.approx(keeper.clock.now + 100)
        assert (await keeper.store.get_command(OPERATOR_CALLER, command.id)).state is CommandState.ACCEPTED
        assert (await keeper.store.agent("bob")).status.agent_status is AgentState.IDLE


async def test_a_relay_that_was_away_waits_for_those_who_come_back(tmp_path: Path) -> None:
    clock = Clock()
    async with keeping(tmp_path, clock) as keeper:
        await keeper.join("bob")
        ids = [await keeper.post("bob") for _ in range(2)]
        for id, lease_s in zip(ids, (900.0, MAX_LEASE_S), strict=True):
            receipt = Receipt(**BOB, attempt=1, state=State.SUBMITTING, lease_s=lease_s)  # type: ignore[arg-type]
            await keeper.store.receipt(id, receipt)
    clock.now += 3600
    async with keeping(tmp_path, clock) as keeper:
        await keeper.store.sweep()
        assert (await keeper.delivery(ids[0])).claim_expires_at == clock.now + RENEWAL_ROUND_S
        await keeper.join("bob", "two")
        assert (await keeper.delivery(ids[0])).instance_id == "two"
    clock.now -= 10 * MAX_LEASE_S  # set back while no relay ran
    async with keeping(tmp_path, clock) as keeper:
        assert (await keeper.delivery(ids[1])).claim_expires_at == clock.now + MAX_LEASE_S
