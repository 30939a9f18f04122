"""Claims and receipts under the clock and under many hands."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay_runner.errors import ClaimLost, RelayUnauthorized
from relay_runner.protocol.messages import ClaimRequest, Receipt, State
from relay_runner.server.store.agents import BUS_GRACE_S
from tests.unit.server.store.world import keeping

pytestmark = pytest.mark.anyio


def request(agent_id: str, lease_s: float = 60.0) -> ClaimRequest:
    return ClaimRequest(agent_id=agent_id, instance_id="one", lease_s=lease_s)


async def test_twenty_claims_in_one_commit_have_one_winner(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        for number in range(20):
            await keeper.join(f"w{number}", tags=("x",))
        message_id = await keeper.post("tag:x", claimable=True)
        before = keeper.store.commits
        results = await asyncio.gather(*[keeper.store.claim(message_id, request(f"w{n}")) for n in range(20)])
        assert sum(result.granted for result in results) == 1
        assert keeper.store.commits - before < 20


async def test_a_claim_that_ran_out_goes_to_nobody_whom_it_does_not_mean(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("ann", tags=("x",))
        await keeper.join("eve")
        message_id = await keeper.post("tag:x", claimable=True)
        assert (await keeper.store.claim(message_id, request("ann"))).granted
        await keeper.leave("ann")
        keeper.clock.now += 61
        # Nobody swept yet; the claim ran out all the same, and eve is not meant.
        with pytest.raises(RelayUnauthorized):
            await keeper.store.claim(message_id, request("eve"))
        assert (await keeper.store.claim(message_id, request("ann"))).granted
        assert (await keeper.delivery(message_id)).attempt == 2


async def test_a_sweep_settles_what_is_due_and_says_when_the_next_is(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        first, second = await keeper.post("bob", ttl_s=1000), await keeper.post("bob")
        await keeper.store.claim(first, request("bob", 10))
        await keeper.store.claim(second, request("bob", 20))
        report = Receipt(agent_id="bob", instance_id="one", attempt=1, state=State.SUBMITTING, lease_s=30)
        await keeper.store.receipt(second, report)
        await keeper.leave("bob")
        keeper.clock.now += BUS_GRACE_S
        await keeper.store.sweep()
        keeper.clock.now -= BUS_GRACE_S
        keeper.changes.clear()
        assert await keeper.store.sweep() == pytest.approx(keeper.clock.now + 10)
        keeper.clock.now += 10
        assert await keeper.store.sweep() == pytest.approx(keeper.clock.now + 20)
        assert keeper.pushed() == [("agent:bob", 2)]
        keeper.clock.now += 20
        await keeper.store.sweep()
        assert (await keeper.delivery(second)).state is State.UNKNOWN
        keeper.clock.now += 970
        await keeper.store.sweep()
        assert (await keeper.delivery(first)).reason == "expired"


async def test_a_lease_that_ran_out_cannot_be_renewed_before_the_sweep_either(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        message_id = await keeper.post("bob")
        await keeper.store.claim(message_id, request("bob", 10))
        await keeper.leave("bob")
        keeper.clock.now += 11
        with pytest.raises(ClaimLost):
            await keeper.store.renew(message_id, request("bob"))


async def test_a_new_instance_inherits_what_is_alive_only(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        stale, alive = await keeper.post("bob"), await keeper.post("bob")
        await keeper.store.claim(stale, request("bob", 10))
        await keeper.store.claim(alive, request("bob", 100))
        keeper.clock.now += 11
        keeper.changes.clear()
        await keeper.join("bob", "two")
        assert (await keeper.delivery(alive)).instance_id == "two"
        assert (await keeper.delivery(stale)).state is State.QUEUED
        assert keeper.pushed() == [("agent:bob", 2)]
