"""Agents as others see them: presence, status, and the work that keeps one busy."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from relay_runner.protocol.wire import Wire

OFFLINE_AFTER_S = 45.0
HEARTBEAT_S = 30.0
TIMELINE_KEPT = 50
"""How many events a runner keeps for its relay, and how many the relay shows of each agent."""


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


class TransportState(StrEnum):
    """How a runner reaches its relay."""

    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    HTTP_ONLY = "http-only"
    """The bus is gone, HTTP works: messages come by the poll, every 20 s."""
    UNAUTHORIZED = "unauthorized"
    """The relay does not take the token; nothing is tried until there is another one."""


class Transport(Wire, frozen=True, kw_only=True):
    """How a runner reaches its relay, since when, and what is in the way."""

    state: TransportState
    since: float
    detail: str | None = None


class Auth(Wire, frozen=True, kw_only=True):
    """Which token a runner shows to the relay; never the token."""

    profile_id: str
    jti: str
    subject: str
    expires_at: float
    root_token_fallback: bool = False
    """It is not the agent's own: a person's or an operator's, because no own one could be had."""


class TimelineEvent(Wire, frozen=True, kw_only=True):
    """One thing that happened to a runner. It may be told several times, and counts once, by its id."""

    id: str
    kind: str
    """`runtime-token-renewed`, `provider-exited` and the like."""
    at: float
    data: dict[str, Any] = {}


class Context(Wire, frozen=True, kw_only=True):
    """How full the model's context window is, and how well that is known."""

    utilisation: float | None = None
    """The part of the window that is used, 0 to 1."""
    tokens: int | None = None
    window: int | None = None
    lifecycle_state: str = "active"
    """`fresh` (nothing was said yet), `active`, `compacting`, or `compacted` (and nothing was said since)."""
    source: str
    """`api`, `statusline`, `hook` or `estimate`."""
    confidence: str
    """`exact` (counted by the model's side), `reported` (by the program) or `estimated`."""
    at: float = 0.0
    """When this was learnt."""


def context(
    tokens: int | None, window: int | None, *, source: str, confidence: str, at: float, lifecycle_state: str = "active"
) -> Context:
    """Return what is known of a context window, with the part of it that is used."""
    used = round(min(1.0, tokens / window), 4) if tokens is not None and window else None
    return Context(
        utilisation=used,
        tokens=tokens,
        window=window,
        lifecycle_state=lifecycle_state,
        source=source,
        confidence=confidence,
        at=at,
    )


class HeldMessage(Wire, frozen=True, kw_only=True):
    """A message that its agent has and cannot put in now, why, and since when."""

    message_id: int
    reason: str
    """`person typing`, `dialog open`, and what else a program says."""
    since: float


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
    provider_state_source: str | None = None
    """Where that is known from."""
    provider_state_since: float = 0.0
    provider_session_id: str | None = None
    context: Context | None = None
    terminal_status: str | None = None
    lifecycle_action: str | None = None
    """`starting`, `restarting`, `shutting-down`, `killed` or None."""
    detail: str | None = None
    """One line for a person: why it is in error, what it waits for."""
    held: tuple[HeldMessage, ...] = ()
    """What waits at the agent itself for longer than a moment, the oldest first."""
    transport: Transport | None = None
    auth: Auth | None = None
    timeline: tuple[TimelineEvent, ...] = ()
    """From a runner: what is new, oldest first. From the relay: the newest that it was told."""
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
    obligations: int = 0
    """Messages that it has, that ask for a reply, and that it has not answered."""
    last_seen_at: float = 0.0
    created_at: float = 0.0


def unheard(status: Status) -> Status:
    """Return what is left of the status of an agent that is not heard of: an error stands, all else is over."""
    over = replace(status, ready=False, busy_reasons=(), active_work=(), active_subagents=0, held=(), transport=None)
    return over if status.agent_status is AgentState.ERROR else replace(over, agent_status=AgentState.OFFLINE)
