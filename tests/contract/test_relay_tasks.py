"""What every relay does with tasks, whatever it is made of."""

from __future__ import annotations

from typing import Any

import pytest

from relay_runner.errors import RelayNotFound, RelayRefused, RelayUnauthorized
from relay_runner.protocol.commands import NewTask, TaskQuery, TaskState, TaskUpdate
from relay_runner.protocol.messages import UNPROVEN, Outcome, State
from relay_runner.relay.base import Relay
from tests.contract.relays import World, gone, seat
from tests.contract.test_relays import fails, post

pytestmark = pytest.mark.anyio


async def open_task(world: World, subject: str = "paint") -> int:
    return (await world.operator.create_task(NewTask(subject=subject))).id


async def task_is(world: World, task_id: int, state: TaskState, **metadata: Any) -> None:
    found = await world.operator.get_task(task_id)
    assert (found.state, found.metadata) == (state, metadata)


async def test_tasks_keep_a_record(world: World) -> None:
    new = NewTask(subject="paint", metadata={"a": 1}, idempotency_key="k")
    task = await world.operator.create_task(new)
    assert task.state is TaskState.OPEN and task.created_by == "person:op"
    assert await world.operator.create_task(new) == task
    await world.operator.update_task(task.id, TaskUpdate(state=TaskState.IN_PROGRESS, metadata={"b": 2}))
    await world.operator.update_task(task.id, TaskUpdate(state=TaskState.DONE, agent_id="bob"))
    found = await world.operator.get_task(task.id)
    assert (found.state, found.agent_id, found.metadata) == (TaskState.DONE, "bob", {"a": 1, "b": 2})
    back = TaskUpdate(state=TaskState.IN_PROGRESS)
    await fails(RelayRefused, world.operator.update_task(task.id, back), "done and cannot become in_progress")
    await fails(RelayNotFound, world.operator.get_task(99), "99")
    await fails(RelayRefused, world.operator.create_task(NewTask(subject=" ")), "no subject")


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.COMPLETED, TaskState.DONE),
        (Outcome.FAILED, TaskState.FAILED),
        (Outcome.INTERRUPTED, TaskState.FAILED),
        (Outcome.BLOCKED, TaskState.FAILED),
    ],
)
async def test_a_task_goes_with_the_turn_that_carries_it(world: World, outcome: Outcome, state: TaskState) -> None:
    """Promise: tasks."""
    async with seat(world, "bob", tags=("w",)) as bob:
        task = await open_task(world)
        carrier = (await post(world.operator, "tag:w", claimable=True, payload={"taskId": task})).message.id
        await task_is(world, task, TaskState.OPEN)
        await bob.relay.claim(carrier, bob.request())
        await task_is(world, task, TaskState.IN_PROGRESS, messageId=carrier, attempt=1)
        assert (await bob.relay.get_task(task)).agent_id == "bob"
        for step in (State.SUBMITTING, State.SEEN):
            await bob.relay.receipt(carrier, bob.receipt(step))
        await task_is(world, task, TaskState.IN_PROGRESS, messageId=carrier, attempt=1)
        ended = bob.receipt(State.DONE, outcome=outcome, reason="because")
        await bob.relay.receipt(carrier, ended)
        told = {"messageId": carrier, "attempt": 1, "outcome": outcome.value, "reason": "because"}
        await task_is(world, task, state, **told)
        await bob.relay.receipt(carrier, ended)  # the same report again changes nothing
        await task_is(world, task, state, **told)


async def test_not_7_an_older_turns_end_leaves_a_younger_task_alone(world: World) -> None:
    """Mistake 7: an older turn's idle marks a younger task done."""
    async with seat(world, "bob") as bob:
        older, younger = await open_task(world, "older"), await open_task(world, "younger")
        first = (await post(world.operator, "bob", payload={"taskId": older})).message.id
        second = (await post(world.operator, "bob", payload={"taskId": younger})).message.id
        again = (await post(world.operator, "bob", payload={"taskId": older})).message.id
        for one in (first, second):
            await bob.relay.receipt(one, bob.receipt(State.SUBMITTING))
        await bob.relay.receipt(first, bob.receipt(State.DONE))
        assert (await world.operator.get_task(older)).state is TaskState.DONE
        await task_is(world, younger, TaskState.IN_PROGRESS, messageId=second, attempt=1)
        # And of two messages that carry one task only the one that began last speaks for it.
        task = await open_task(world)
        one, two = [(await post(world.operator, "bob", payload={"taskId": task})).message.id for _ in range(2)]
        for carrier in (one, two):
            await bob.relay.receipt(carrier, bob.receipt(State.SUBMITTING))
        await bob.relay.receipt(one, bob.receipt(State.DONE))
        await task_is(world, task, TaskState.IN_PROGRESS, messageId=two, attempt=1)
        await bob.relay.receipt(two, bob.receipt(State.DONE, outcome=Outcome.FAILED))
        assert (await world.operator.get_task(task)).state is TaskState.FAILED
        await bob.relay.receipt(again, bob.receipt(State.SUBMITTING))
        assert (await world.operator.get_task(older)).state is TaskState.DONE, "done is done"


async def test_a_task_that_is_given_back_is_open_and_one_whose_message_is_dead_has_failed(world: World) -> None:
    async with seat(world, "bob", tags=("w",)) as bob, seat(world, "ann", tags=("w",)) as ann:
        task = await open_task(world)
        carrier = (await post(world.operator, "tag:w", claimable=True, payload={"taskId": task}, ttl_s=3600)).message.id
        await bob.relay.claim(carrier, bob.request(lease_s=60))
        await bob.relay.release(carrier, bob.release(reason="going home"))
        await task_is(world, task, TaskState.OPEN, messageId=carrier, attempt=1, reason="going home")
        assert (await world.operator.get_task(task)).agent_id is None
        await ann.relay.claim(carrier, ann.request(lease_s=60))
        await task_is(world, task, TaskState.IN_PROGRESS, messageId=carrier, attempt=2)
    await gone(world, "ann")
    await world.turn(61)
    await task_is(world, task, TaskState.OPEN, messageId=carrier, attempt=2, reason="lease expired")
    await world.turn(3600)
    assert (await world.operator.get_task(task)).metadata["outcome"] == "dead"
    assert (await world.operator.get_task(task)).state is TaskState.FAILED
    await world.operator.redeliver(carrier)
    async with await gone(world, "bob") as relay:
        await relay.claim(carrier, bob.request())
    await task_is(world, task, TaskState.IN_PROGRESS, messageId=carrier, attempt=4)


async def test_what_nobody_can_know_moves_no_task(world: World) -> None:
    async with seat(world, "bob") as bob:
        tasks = [await open_task(world), await open_task(world)]
        unknown, unproven = [(await post(world.operator, "bob", payload={"taskId": one})).message.id for one in tasks]
        for one in (unknown, unproven):
            await bob.relay.receipt(one, bob.receipt(State.SUBMITTING))
        await bob.relay.receipt(unknown, bob.receipt(State.UNKNOWN, reason="gone"))
        await bob.relay.receipt(unproven, bob.receipt(State.SUBMITTED, evidence=UNPROVEN))
        told = {"messageId": unknown, "attempt": 1, "outcome": "unknown", "reason": "gone"}
        await task_is(world, tasks[0], TaskState.IN_PROGRESS, **told)
        await task_is(world, tasks[1], TaskState.IN_PROGRESS, messageId=unproven, attempt=1, outcome=UNPROVEN)
        await bob.relay.receipt(unknown, bob.receipt(State.DONE))  # late evidence
        assert (await world.operator.get_task(tasks[0])).state is TaskState.DONE
        await bob.relay.update_task(tasks[1], TaskUpdate(state=TaskState.DONE))


async def test_a_task_is_moved_by_its_creator_by_operators_and_by_whom_a_message_brought_it_to(world: World) -> None:
    progress = TaskUpdate(state=TaskState.IN_PROGRESS)
    async with seat(world, "bob") as bob, seat(world, "eve") as eve, await world.person("ann") as ann:
        task = await ann.create_task(NewTask(subject="paint"))
        for stranger in (bob.relay, eve.relay):
            await fails(RelayNotFound, stranger.update_task(task.id, progress))
            await fails(RelayNotFound, stranger.get_task(task.id))
            # Whoever got the message could move the task: so it is not a stranger's to give away.
            await fails(RelayNotFound, post(stranger, "person:ann", payload={"taskId": task.id}))
            assert await stranger.tasks(TaskQuery()) == []
        await post(ann, "bob", payload={"taskId": task.id})
        assert (await bob.relay.update_task(task.id, progress)).state is TaskState.IN_PROGRESS
        as_eve = TaskUpdate(state=TaskState.IN_PROGRESS, agent_id="eve")
        await fails(RelayUnauthorized, bob.relay.update_task(task.id, as_eve))
        await post(bob.relay, "eve", "please", payload={"taskId": task.id})
        await eve.relay.update_task(task.id, as_eve)
        await ann.update_task(task.id, TaskUpdate(state=TaskState.FAILED))
        await world.operator.update_task(task.id, TaskUpdate(state=TaskState.DONE))
        await fails(RelayNotFound, post(world.operator, "bob", payload={"taskId": 99}), "99")
        for opaque in ("7", True, None, 0, -1, 1.5, 2**70, [1]):
            await post(world.operator, "bob", payload={"taskId": opaque})


async def test_a_task_does_not_grow_for_ever(world: World) -> None:
    large = {"a": "x" * 40_000}
    await fails(
        RelayRefused, world.operator.create_task(NewTask(subject="x", metadata={**large, "b": large})), "metadata"
    )
    await fails(RelayRefused, world.operator.create_task(NewTask(subject="x", description="x" * 2**21)), "1048576")
    task = (await world.operator.create_task(NewTask(subject="x", metadata=large))).id
    more = TaskUpdate(state=TaskState.IN_PROGRESS, metadata={"b": large})
    await fails(RelayRefused, world.operator.update_task(task, more), "metadata")
    await world.operator.update_task(task, TaskUpdate(state=TaskState.DONE))


@pytest.mark.parametrize("value", [True, 1.0, "1", [1]])
async def test_what_only_looks_like_a_tasks_number_carries_none(world: World, value: object) -> None:
    """JSON's `true` is 1 to a database, and would move a stranger's task."""
    async with seat(world, "amy") as amy, seat(world, "bob") as bob:
        task = await open_task(world)
        assert task == 1
        carrier = (await post(amy.relay, "bob", payload={"taskId": value})).message.id
        await bob.relay.receipt(carrier, bob.receipt(State.SUBMITTING))
        await task_is(world, task, TaskState.OPEN)
        for stranger in (amy, bob):
            await fails(RelayNotFound, stranger.relay.get_task(task), "there is no task 1")
            assert await stranger.relay.tasks(TaskQuery()) == []


async def test_a_task_that_somebody_has_and_did_not_bring_is_seen_but_not_moved(world: World) -> None:
    async with seat(world, "bob") as bob:
        task = await open_task(world)
        await world.operator.update_task(task, TaskUpdate(state=TaskState.OPEN, agent_id="bob"))
        assert (await bob.relay.get_task(task)).agent_id == "bob"
        await fails(RelayUnauthorized, bob.relay.update_task(task, TaskUpdate(state=TaskState.DONE)), "not yours")


async def test_tasks_are_listed_by_what_is_asked_for(world: World) -> None:
    async with seat(world, "bob") as bob, await world.person("ann") as ann:
        ids = [await open_task(world, f"no {number}") for number in range(3)]
        hers = (await ann.create_task(NewTask(subject="hers"))).id
        await post(world.operator, "bob", payload={"taskId": ids[0]})
        await world.operator.update_task(ids[1], TaskUpdate(state=TaskState.DONE, agent_id="bob"))

        async def found(relay: Relay, **query: Any) -> list[int]:
            return [task.id for task in await relay.tasks(TaskQuery(**query))]

        assert await found(world.operator) == [hers, *ids[::-1]]
        assert await found(world.operator, states=(TaskState.OPEN,), created_by="person:op") == [ids[2], ids[0]]
        assert await found(world.operator, states=(TaskState.DONE, TaskState.FAILED)) == [ids[1]]
        assert await found(world.operator, agent_id="bob") == [ids[1]]
        assert await found(world.operator, before=ids[2], limit=1) == [ids[1]]
        assert await found(ann) == [hers]
        assert await found(bob.relay) == [ids[1], ids[0]]
