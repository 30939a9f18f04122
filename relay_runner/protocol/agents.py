"""Agents as others see them: presence, status, and the work that keeps one busy."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from relay_runner.protocol.wire import Wire

OFFLINE_AFTER_S = 45.0
HEARTBEAT_S = 30.0


class AgentState(StrEnum):
    """The one word that others see first."""

    IDLE = "idle"
    BUSY = "busy"
    OFFLINE = "offline"
    ERROR = "error"


class WorkKind(StrEnum):
    """What can keep an agent busy."""

    TURN = "provider-turn"
    SUBAGENT = "subagent"
    MESSAGE = "message"
    TASK = "task"
    COMMAND = "command"


class WorkItem(Wire, frozen=True, kw_only=True):
    """One thing that keeps the agent busy, with the evidence for it."""

    kind: WorkKind
    id: str
    started_at: float
    source: str
    """Where it is known from: `hook:UserPromptSubmit`, `state-file`, `screen`, `runner`."""
    label: str | None = None
    role: str | None = None
    parent_id: str | None = None
    metadata: dict[str, Any] = {}


class Status(Wire, frozen=True, kw_only=True):
    """What a runner publishes of its agent."""

    agent_status: AgentState = AgentState.OFFLINE
    ready: bool = False
    """Whether a message sent now could go in now or later without a person's help."""
    busy_reasons: tuple[str, ...] = ()
    active_work: tuple[WorkItem, ...] = ()
    active_subagents: int = 0
    provider_state: str | None = None
    """The provider's own word: `idle`, `busy`, `waiting: permission prompt`, `shell`."""
    provider_session_id: str | None = None
    terminal_status: str | None = None
    lifecycle_action: str | None = None
    """`starting`, `restarting`, `shutting-down`, `killed` or None."""
    detail: str | None = None
    """One line for a person: why it is in error, what it waits for."""
    since: float = 0.0
    """Since when `agent_status` is what it is."""
    at: float = 0.0
    """When this was said."""


class Agent(Wire, frozen=True, kw_only=True):
    """One agent as the relay lists it."""

    id: str
    provider: str | None = None
    label: str | None = None
    tags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    machine: str | None = None
    instance_id: str | None = None
    runner_id: str | None = None
    connected: bool = False
    status: Status = Status()
    meta: dict[str, Any] = {}
    queued: int = 0
    """Deliveries that wait for it."""
    last_seen_at: float = 0.0
    created_at: float = 0.0
