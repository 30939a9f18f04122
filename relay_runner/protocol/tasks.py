"""The rules of tasks: what may become of one, and how it follows the messages that carry it.

    open -> in_progress -> done | failed        failed -> in_progress where it is tried again

A message carries a task by `payload.taskId`. The relay moves the task in the same step as that message's delivery, so
that the two never contradict each other and no report can be lost between them: in progress from the moment that an
agent holds the delivery, done only when the turn that carried it completed, failed when that turn failed or when the
message is dead, open again when it was given back. `metadata` says which message it was, by which try, and how it
ended. What nobody can know (`unknown`, `unproven`) moves no task: a person does.

A task follows the delivery that began on it last: an older one that ends meanwhile says nothing about it any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from relay_runner.errors import RelayRefused
from relay_runner.protocol.acceptance import check_body
from relay_runner.protocol.commands import NewTask, Task, TaskState, TaskUpdate
from relay_runner.protocol.deliveries import IN_FLIGHT
from relay_runner.protocol.messages import UNPROVEN, Delivery, Outcome, State
from relay_runner.protocol.wire import encode

CARRIED_BY = "taskId"
MAX_SUBJECT_CHARS = 1000
MAX_METADATA_BYTES = 64 * 1024
MAX_ID = 2**63 - 1
FINAL = frozenset({TaskState.DONE, TaskState.FAILED})
MOVES: dict[TaskState, frozenset[TaskState]] = {
    TaskState.OPEN: frozenset(TaskState),
    TaskState.IN_PROGRESS: frozenset(TaskState),
    TaskState.FAILED: frozenset(TaskState),
    TaskState.DONE: frozenset({TaskState.DONE}),
}
_OF_A_TRY = ("messageId", "attempt", "outcome", "reason")
"""What the metadata says of the message that is at work on it, or was last."""


def carried(payload: Mapping[str, Any]) -> int | None:
    """Return the id of the task that a message with this payload carries."""
    value = payload.get(CARRIED_BY)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_ID else None


def check_task(new: NewTask) -> None:
    """Raise `RelayRefused` with one line for a task that cannot be opened."""
    if not new.subject.strip():
        raise RelayRefused("the task has no subject", status=422)
    if len(new.subject) > MAX_SUBJECT_CHARS:
        raise RelayRefused(f"the task's subject is longer than {MAX_SUBJECT_CHARS} characters", status=422)
    check_body(new.description.strip() or "-")
    _check_metadata(new.metadata)


def move_task(task: Task, update: TaskUpdate, now: float) -> Task:
    """Return the task after a report by somebody who may move it; metadata is merged."""
    if update.state not in MOVES[task.state]:
        message = f"task {task.id} is {task.state} and cannot become {update.state}"
        raise RelayRefused(message, hint="open a new one", status=409, code="illegal-move")
    metadata = {**task.metadata, **update.metadata}
    if update.metadata:
        _check_metadata(metadata)
    return replace(
        task,
        state=update.state,
        agent_id=update.agent_id or task.agent_id,
        metadata=metadata,
        updated_at=now,
    )


def follow(task: Task, before: Delivery, after: Delivery, now: float) -> Task:
    """Return the task after a delivery of a message that carries it moved on; the same object where nothing follows."""
    if task.state is TaskState.DONE:
        return task
    agent_id = (after.recipient or before.recipient or "").removeprefix("agent:")
    mine = (task.metadata.get("messageId"), task.agent_id) == (after.message_id, agent_id)
    working = mine and task.state is TaskState.IN_PROGRESS
    if after.state is State.SUBMITTED and after.evidence == UNPROVEN:
        return _note(task, now, outcome=UNPROVEN) if working else task
    if after.state in IN_FLIGHT:
        if working and task.metadata.get("attempt") == after.attempt and "outcome" not in task.metadata:
            return task
        return _begin(task, after, agent_id, now)
    if after.state is State.DONE:
        return _end(task, after, now) if working else task
    if after.state is State.DEAD:
        return _end(task, after, now) if working or task.state is TaskState.OPEN else task
    if after.state is State.UNKNOWN:
        return _note(task, now, outcome=State.UNKNOWN.value, reason=after.reason) if working else task
    given_back = working and (after.held is None or after.recipient is None)
    return _reopen(task, after, now) if given_back else task


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    if len(encode(metadata)) > MAX_METADATA_BYTES:
        raise RelayRefused(f"the task's metadata is larger than {MAX_METADATA_BYTES} bytes", status=422)


def _begin(task: Task, delivery: Delivery, agent_id: str, now: float) -> Task:
    metadata = {name: value for name, value in task.metadata.items() if name not in _OF_A_TRY}
    metadata |= {"messageId": delivery.message_id, "attempt": delivery.attempt}
    return replace(task, state=TaskState.IN_PROGRESS, agent_id=agent_id, metadata=metadata, updated_at=now)


def _end(task: Task, delivery: Delivery, now: float) -> Task:
    outcome = delivery.outcome if delivery.state is State.DONE else None
    state = TaskState.DONE if outcome is Outcome.COMPLETED else TaskState.FAILED
    noted = _note(
        task, now, outcome=str(outcome or delivery.state), reason=delivery.reason, messageId=delivery.message_id
    )
    return replace(noted, state=state)


def _reopen(task: Task, delivery: Delivery, now: float) -> Task:
    return replace(_note(task, now, reason=delivery.reason or delivery.held), state=TaskState.OPEN, agent_id=None)


def _note(task: Task, now: float, **words: Any) -> Task:
    metadata = {name: value for name, value in {**task.metadata, **words}.items() if value is not None}
    return replace(task, metadata=metadata, updated_at=now)
