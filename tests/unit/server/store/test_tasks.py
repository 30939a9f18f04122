"""Tasks in the store, beyond the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import RelayNotFound
from relay_runner.protocol.commands import NewTask, TaskQuery, TaskState, TaskUpdate
from relay_runner.protocol.messages import ClaimRequest, Outcome, Receipt, State
from tests.unit.server.store.world import OPERATOR_CALLER, agent_caller, keeping

pytestmark = pytest.mark.anyio


async def test_a_task_moves_in_the_transaction_of_its_delivery_and_both_are_told(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        task = await keeper.store.create_task(OPERATOR_CALLER, NewTask(subject="s"))
        carrier = await keeper.post("bob", payload={"taskId": task.id})
        keeper.changes.clear()
        commits = keeper.store.commits
        await keeper.store.claim(carrier, ClaimRequest(agent_id="bob", instance_id="one"))
        assert keeper.store.commits == commits + 1
        assert [change.event.type for change in keeper.changes] == ["delivery", "task"]
        told = keeper.changes[-1].event.data
        expected = {"id": task.id, "from": "person:op", "agentId": "bob", "state": "in_progress", "messageId": carrier}
        assert told == expected


async def test_a_claim_that_lapses_by_the_clock_opens_its_task(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob", tags=("w",))
        task = await keeper.store.create_task(OPERATOR_CALLER, NewTask(subject="s"))
        carrier = await keeper.post("tag:w", claimable=True, payload={"taskId": task.id})
        await keeper.store.claim(carrier, ClaimRequest(agent_id="bob", instance_id="one", lease_s=60))
        await keeper.leave("bob")
        keeper.clock.now += 60
        await keeper.store.sweep()
        assert (await keeper.store.get_task(OPERATOR_CALLER, task.id)).state is TaskState.OPEN


async def test_a_successor_that_inherits_the_message_has_the_task(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        task = await keeper.store.create_task(OPERATOR_CALLER, NewTask(subject="s"))
        carrier = await keeper.post("bob", payload={"taskId": task.id})
        seen = Receipt(agent_id="bob", instance_id="one", attempt=1, state=State.SUBMITTING, nonce="n")
        await keeper.store.receipt(carrier, seen)
        await keeper.join("bob", "two")
        done = Receipt(agent_id="bob", instance_id="two", attempt=1, state=State.DONE, outcome=Outcome.COMPLETED)
        await keeper.store.receipt(carrier, done)
        assert (await keeper.store.get_task(OPERATOR_CALLER, task.id)).state is TaskState.DONE


async def test_ids_that_cannot_be_are_not_found(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        for task_id in (0, 2, 2**70):
            with pytest.raises(RelayNotFound):
                await keeper.store.get_task(OPERATOR_CALLER, task_id)


async def test_a_page_has_a_limit(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        for number in range(3):
            await keeper.store.create_task(OPERATOR_CALLER, NewTask(subject=str(number)))
        for limit, count in ((-5, 1), (2, 2), (10**9, 3)):
            assert len(await keeper.store.tasks(OPERATOR_CALLER, TaskQuery(limit=limit))) == count


async def test_an_agents_word_about_its_own_task_counts(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        task = await keeper.store.create_task(OPERATOR_CALLER, NewTask(subject="s"))
        await keeper.post("bob", payload={"taskId": task.id})
        told = TaskUpdate(state=TaskState.FAILED, agent_id="bob", metadata={"why": "no paint"})
        found = await keeper.store.update_task(agent_caller("bob"), task.id, told)
        assert (found.state, found.agent_id, found.metadata) == (TaskState.FAILED, "bob", {"why": "no paint"})
