"""The tasks of a relay in memory: they move along with the deliveries of the messages that carry them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from relay_runner.errors import RelayNotFound, RelayUnauthorized
from relay_runner.protocol import tasks
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.commands import NewTask, Task, TaskQuery, TaskState, TaskUpdate
from relay_runner.protocol.messages import Delivery
from relay_runner.relay.memory.board import Board


class Tasks:
    """Every task, by id."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._tasks: dict[int, Task] = {}
        self.brought_to: Callable[[int], Collection[str]]
        """Returns the recipients of the messages that carry a task; set by who keeps those."""

    def create(self, caller: Caller, new: NewTask) -> Task:
        """Open a task."""
        tasks.check_task(new)
        known = self._board.remembered(caller, "task", new.idempotency_key)
        if isinstance(known, int):
            return self._tasks[known]
        now = self._board.clock()
        task = Task(
            id=len(self._tasks) + 1,
            subject=new.subject,
            created_by=caller.subject,
            created_at=now,
            description=new.description,
            metadata=new.metadata,
            updated_at=now,
        )
        self._board.remember(caller, "task", new.idempotency_key, task.id)
        return self._put(None, task)

    def get(self, caller: Caller, task_id: int) -> Task:
        """Return a task to those whom it concerns."""
        task = self._tasks.get(task_id)
        if task is None or not self._concerns(caller, task):
            raise RelayNotFound(f"there is no task {task_id}")
        return task

    def listed(self, caller: Caller, query: TaskQuery) -> list[Task]:
        """Return the tasks asked for that concern the caller, newest first."""
        found = [
            task
            for task in reversed(self._tasks.values())
            if self._concerns(caller, task)
            and task.state in (query.states or tuple(TaskState))
            and query.agent_id in (None, task.agent_id)
            and query.created_by in (None, task.created_by)
            and task.id < (query.before or tasks.MAX_ID)
        ]
        return found[: query.limit]

    def update(self, caller: Caller, task_id: int, update: TaskUpdate) -> Task:
        """Move a task on."""
        task = self.get(caller, task_id)
        if not self._may_move(caller, task):
            raise RelayUnauthorized(f"task {task_id} is not yours to move", status=403, code="forbidden")
        if update.agent_id is not None and not (caller.operates or caller.is_(task.created_by)):
            caller.need_agent(update.agent_id)
        return self._put(task, tasks.move_task(task, update, self._board.clock()))

    def check_carried(self, caller: Caller, payload: Mapping[str, Any]) -> None:
        """Refuse a message that carries a task which its sender may not move."""
        task_id = tasks.carried(payload)
        if task_id is not None and not self._may_move(caller, self.get(caller, task_id)):
            raise RelayUnauthorized(f"task {task_id} is not yours to give away", status=403, code="forbidden")

    def follow(self, payload: Mapping[str, Any], before: Delivery, after: Delivery) -> None:
        """Move the task that a message carries along with that message's delivery."""
        task = self._tasks.get(tasks.carried(payload) or 0)
        if task is not None:
            self._put(task, tasks.follow(task, before, after, self._board.clock()))

    def _may_move(self, caller: Caller, task: Task) -> bool:
        brought = any(caller.is_(principal) for principal in self.brought_to(task.id))
        return brought or caller.operates or caller.is_(task.created_by)

    def _concerns(self, caller: Caller, task: Task) -> bool:
        holder = None if task.agent_id is None else agent_principal(task.agent_id)
        return caller.may_see(task.created_by, holder) or self._may_move(caller, task)

    def _put(self, before: Task | None, after: Task) -> Task:
        if after is not before:
            self._tasks[after.id] = after
            words = {"messageId": after.metadata["messageId"]} if "messageId" in after.metadata else {}
            who = {"from": after.created_by, "agentId": after.agent_id}
            self._board.emit("task", id=after.id, state=after.state.value, **who, **words)
        return after
