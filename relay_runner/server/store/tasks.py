"""Tasks: opened and moved by those who may, and moved along with the deliveries of the messages that carry them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_runner.errors import RelayNotFound, RelayUnauthorized
from relay_runner.protocol import acceptance, tasks
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.commands import NewTask, Task, TaskQuery, TaskUpdate
from relay_runner.protocol.messages import Delivery
from relay_runner.server.store.rows import task_of, to_json
from relay_runner.server.store.writer import Transaction

MAX_PAGE = 500


def create(tx: Transaction, caller: Caller, new: NewTask) -> Task:
    """Open a task."""
    tasks.check_task(new)
    if new.idempotency_key is not None:
        since = tx.now - acceptance.IDEMPOTENCY_S
        known = tx.one("get_key", (caller.subject, "task", new.idempotency_key, since))
        if known is not None:
            return _task(tx, int(known[0]))
    values = (new.subject, new.description, caller.subject, to_json(new.metadata), tx.now, tx.now)
    task = _task(tx, tx.run("insert_task", values).lastrowid or 0)
    if new.idempotency_key is not None:
        tx.run("put_key", (caller.subject, "task", new.idempotency_key, str(task.id), tx.now))
    _tell(tx, task)
    return task


def get(tx: Transaction, caller: Caller, task_id: int) -> Task:
    """Return a task to those whom it concerns."""
    task = _task(tx, task_id)
    if not _concerns(tx, caller, task):
        raise RelayNotFound(f"there is no task {task_id}")
    return task


def listed(tx: Transaction, caller: Caller, query: TaskQuery) -> list[Task]:
    """Return the tasks asked for that concern the caller, newest first."""
    own = to_json(caller.principals())
    parameters = {
        "everything": caller.operates,
        "own": own,
        "states": to_json([state.value for state in query.states]),
        "agent_id": query.agent_id,
        "created_by": query.created_by,
        "before": query.before or tasks.MAX_ID,
        "limit": max(1, min(query.limit, MAX_PAGE)),
    }
    return [task_of(row) for row in tx.run("tasks", parameters)]


def update(tx: Transaction, caller: Caller, task_id: int, told: TaskUpdate) -> Task:
    """Move a task on: its creator, an operator, or an agent that a message brought it to."""
    task = get(tx, caller, task_id)
    if not may_move(tx, caller, task):
        raise RelayUnauthorized(f"task {task_id} is not yours to move", status=403, code="forbidden")
    if told.agent_id is not None and not (caller.operates or caller.is_(task.created_by)):
        caller.need_agent(told.agent_id)
    return _put(tx, task, tasks.move_task(task, told, tx.now))


def check_carried(tx: Transaction, caller: Caller, payload: Mapping[str, Any]) -> None:
    """Refuse a message that carries a task which its sender may not move: whoever gets it could move it."""
    task_id = tasks.carried(payload)
    if task_id is not None and not may_move(tx, caller, get(tx, caller, task_id)):
        raise RelayUnauthorized(f"task {task_id} is not yours to give away", status=403, code="forbidden")


def follow(tx: Transaction, task_id: int, before: Delivery, after: Delivery) -> None:
    """Move the task that a message carries along with that message's delivery."""
    row = tx.one("task", (task_id,))
    if row is not None:
        task = task_of(row)
        _put(tx, task, tasks.follow(task, before, after, tx.now))


def may_move(tx: Transaction, caller: Caller, task: Task) -> bool:
    """Say whether somebody may move a task."""
    return caller.operates or caller.is_(task.created_by) or _is_brought(tx, caller, task.id)


def _concerns(tx: Transaction, caller: Caller, task: Task) -> bool:
    holder = None if task.agent_id is None else agent_principal(task.agent_id)
    return caller.may_see(task.created_by, holder) or _is_brought(tx, caller, task.id)


def _is_brought(tx: Transaction, caller: Caller, task_id: int) -> bool:
    return tx.one("task_brought", {"task": task_id, "own": to_json(caller.principals())}) is not None


def _task(tx: Transaction, task_id: int) -> Task:
    row = tx.one("task", (task_id,)) if 0 < task_id <= tasks.MAX_ID else None
    if row is None:
        raise RelayNotFound(f"there is no task {task_id}")
    return task_of(row)


def _put(tx: Transaction, before: Task, after: Task) -> Task:
    if after is not before:
        tx.run("update_task", (after.state.value, after.agent_id, to_json(after.metadata), tx.now, after.id))
        _tell(tx, after)
    return after


def _tell(tx: Transaction, task: Task) -> None:
    data: dict[str, Any] = {"id": task.id, "from": task.created_by, "agentId": task.agent_id, "state": task.state.value}
    if "messageId" in task.metadata:
        data["messageId"] = task.metadata["messageId"]
    tx.emit("task", data)
