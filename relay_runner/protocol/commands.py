"""Orders about agents, and tasks: the work that the relay itself keeps a record of."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from relay_runner.protocol.wire import Wire

COMMAND_TIMEOUT_S = 10.0
MAX_COMMAND_TIMEOUT_S = 60.0


class CommandState(StrEnum):
    """accepted -> running -> succeeded | failed."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class NewCommand(Wire, frozen=True, kw_only=True):
    """What is posted to `POST /commands`; `type` is `agent.restart` and the like."""

    type: str
    target: str
    """An agent id or a runner id."""
    args: dict[str, Any] = {}
    timeout_s: float = COMMAND_TIMEOUT_S
    idempotency_key: str | None = None


class Command(Wire, frozen=True, kw_only=True):
    """An order and what became of it."""

    id: str
    type: str
    target: str
    sender: str
    created_at: float
    args: dict[str, Any] = {}
    timeout_s: float = COMMAND_TIMEOUT_S
    state: CommandState = CommandState.ACCEPTED
    result: dict[str, Any] = {}
    updated_at: float = 0.0


class CommandUpdate(Wire, frozen=True, kw_only=True):
    """What a runner posts to `PATCH /commands/{id}`."""

    state: CommandState
    result: dict[str, Any] = {}


class TaskState(StrEnum):
    """Where a task stands."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    FAILED = "failed"


class NewTask(Wire, frozen=True, kw_only=True):
    """What is posted to `POST /tasks`."""

    subject: str
    description: str = ""
    metadata: dict[str, Any] = {}
    idempotency_key: str | None = None


class Task(Wire, frozen=True, kw_only=True):
    """A piece of work with a record of its own; messages point at it by `payload.taskId`."""

    id: int
    subject: str
    created_by: str
    created_at: float
    description: str = ""
    state: TaskState = TaskState.OPEN
    agent_id: str | None = None
    metadata: dict[str, Any] = {}
    updated_at: float = 0.0


class TaskQuery(Wire, frozen=True, kw_only=True):
    """Which tasks to list, newest first; all conditions hold together."""

    states: tuple[TaskState, ...] = ()
    agent_id: str | None = None
    created_by: str | None = None
    before: int | None = None
    """Only ids below this one: the next page."""
    limit: int = 100


class TaskUpdate(Wire, frozen=True, kw_only=True):
    """What is sent to `PATCH /tasks/{id}`; metadata is merged."""

    state: TaskState
    agent_id: str | None = None
    metadata: dict[str, Any] = {}
