from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay_runner.errors import RelayRefused
from relay_runner.protocol.commands import NewTask, Task, TaskState, TaskUpdate
from relay_runner.protocol.messages import UNPROVEN, Delivery, Outcome, State
from relay_runner.protocol.tasks import carried, check_task, follow, move_task

TASK = Task(id=1, subject="paint", created_by="person:ann", created_at=0.0, metadata={"colour": "blue"})
QUEUED = Delivery(message_id=7, recipient="agent:bob")
CLAIMED = replace(QUEUED, state=State.CLAIMED)


@pytest.mark.parametrize("payload", [{}, {"taskId": "7"}, {"taskId": True}, {"taskId": 0}, {"taskId": 2**63}, {"x": 1}])
def test_only_a_number_is_a_task(payload: dict[str, Any]) -> None:
    assert carried(payload) is None
    assert carried({**payload, "taskId": 7}) == 7


@pytest.mark.parametrize("subject", ["", " ", "x" * 1001])
def test_a_task_has_one_line(subject: str) -> None:
    with pytest.raises(RelayRefused):
        check_task(NewTask(subject=subject))


def test_what_is_told_is_merged_and_done_is_done() -> None:
    done = move_task(TASK, TaskUpdate(state=TaskState.DONE, agent_id="bob", metadata={"n": 1}), 5.0)
    assert (done.state, done.agent_id, done.metadata, done.updated_at) == (
        TaskState.DONE, "bob", {"colour": "blue", "n": 1}, 5.0,
    )  # fmt: skip
    with pytest.raises(RelayRefused):
        move_task(done, TaskUpdate(state=TaskState.OPEN), 6.0)


def test_a_new_try_forgets_how_the_last_one_ended() -> None:
    begun = follow(TASK, QUEUED, CLAIMED, 1.0)
    failed = replace(CLAIMED, state=State.DONE, outcome=Outcome.FAILED, reason="no")
    ended = follow(begun, CLAIMED, failed, 2.0)
    assert ended.metadata == {"colour": "blue", "messageId": 7, "attempt": 1, "outcome": "failed", "reason": "no"}
    again = follow(ended, QUEUED, replace(CLAIMED, message_id=8), 3.0)
    assert (again.state, again.metadata) == (TaskState.IN_PROGRESS, {"colour": "blue", "messageId": 8, "attempt": 1})


def test_a_message_that_waits_for_a_person_keeps_its_task_while_it_stays_with_its_agent() -> None:
    begun = follow(TASK, QUEUED, CLAIMED, 1.0)
    held = replace(QUEUED, held="person typing")
    assert follow(begun, CLAIMED, held, 2.0) is begun
    anybodys = follow(begun, CLAIMED, replace(held, recipient=None), 2.0)
    assert (anybodys.state, anybodys.agent_id) == (TaskState.OPEN, None)


def test_a_turn_that_can_prove_nothing_does_not_make_a_task_done() -> None:
    begun = follow(TASK, QUEUED, CLAIMED, 1.0)
    unproven = replace(CLAIMED, state=State.SUBMITTED, evidence=UNPROVEN)
    assert follow(begun, CLAIMED, unproven, 2.0).state is TaskState.IN_PROGRESS


MOVED = st.builds(
    Delivery,
    message_id=st.integers(1, 2),
    recipient=st.sampled_from([None, "agent:ann", "agent:bob"]),
    state=st.sampled_from(State),
    attempt=st.integers(1, 2),
    outcome=st.sampled_from([None, *Outcome]),
    evidence=st.sampled_from([None, "hook", UNPROVEN]),
    reason=st.sampled_from([None, "no"]),
    held=st.sampled_from([None, "person typing"]),
)


@given(st.lists(st.tuples(MOVED, MOVED), max_size=12))
def test_a_task_is_done_only_by_the_completed_turn_that_began_on_it_last(
    moves: list[tuple[Delivery, Delivery]],
) -> None:
    task, last = TASK, None
    for now, (before, after) in enumerate(moves):
        moved = follow(task, before, after, float(now))
        who = (after.message_id, after.recipient or before.recipient)
        if moved.state is TaskState.DONE and task.state is not TaskState.DONE:
            assert after.state is State.DONE and after.outcome is Outcome.COMPLETED and who == last
        if task.state is TaskState.DONE:
            assert moved is task
        if moved.state is TaskState.IN_PROGRESS and moved is not task and "outcome" not in moved.metadata:
            last = who
        assert moved.metadata["colour"] == "blue"
        assert (
            follow(moved, before, after, now + 0.5) == moved
            or moved.state is TaskState.OPEN
            or "outcome" in (moved.metadata)
        ), "the same move again changes nothing"
        task = moved
