"""What a program does, as the runner is told it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from relay_runner.protocol.agents import Context
from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.permissions import Decision, Question
from relay_runner.protocol.usage import Usage
from relay_runner.providers.base.exchange import (
    Limit,
)


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The program has a session (at start, or a new one after a clear)."""

    session_id: str
    source: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The session that was to be gone on with does not exist any more; what follows is in a new one."""

    session_id: str


class ProcessState(StrEnum):
    """Whether the program would work on a new message at once."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    WAITING = "waiting"
    """A dialog or a permission question is open: nothing may be typed."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The program became idle, busy or waiting; `source` names the evidence, `detail` is the provider's own word."""

    state: ProcessState
    source: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The model has the message with this nonce; `evidence` is where that is known from."""

    nonce: str
    evidence: str


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A turn began, by whomever."""

    turn_id: str
    source: str
    nonces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """A turn ended with everything that belongs to it (no subagent runs any more)."""

    outcome: Outcome
    source: str
    nonces: tuple[str, ...] = ()
    """The messages that this turn carried; a person's own turn carries none."""
    result: str | None = None
    reason: str | None = None
    """Why it failed, in one line; or the kind of error."""
    limit: Limit | None = None
    """It failed for this limit: what it carried is continued afterwards, never submitted again."""
    usage: Usage | None = None
    """What it cost; a turn that carried several messages is put on the first one's account."""
    carried: tuple[str, ...] = ()
    """All messages that the turn carried, those too whose end is told by an event of their own; empty: `nonces`."""
    by_hand: bool = False
    """A person's own prompt was in it, too."""


@dataclass(frozen=True, slots=True)
class SubagentStarted:
    """A subagent works under the main turn."""

    id: str
    source: str
    role: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class SubagentEnded:
    """A subagent is done; None means all of them."""

    id: str | None
    source: str


@dataclass(frozen=True, slots=True)
class PermissionAsked:
    """The program asks for a permission; the same id again (after a reconnect) is the same question.

    What an adopted program still asks is told again, under the id that it had, with what can be answered now.
    """

    id: str
    """Unique over all sessions and processes."""
    kind: str
    """See `protocol.permissions.NewPermission.kind`."""
    title: str
    source: str
    detail: str | None = None
    decisions: tuple[Decision, ...] = (Decision.APPROVE, Decision.DENY)
    questions: tuple[Question, ...] = ()
    note: str | None = None
    """For people; `answer at the terminal` where no answer from elsewhere can be put in."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reopened: bool = False
    """The answer that was put in had no effect: it is asked as if nobody had answered."""


@dataclass(frozen=True, slots=True)
class PermissionClosed:
    """A question is answered or withdrawn, by whomever; also after an answer of ours went in."""

    id: str
    source: str
    answered: bool = True
    """False: nobody answered, it is asked no more (interrupted, ended)."""
    decision: Decision | None = None
    """What was answered, where that is known."""


@dataclass(frozen=True, slots=True)
class Limited:
    """Outside of a turn's end: the model's side is limited (until when), or None: it takes work again."""

    limit: Limit | None


@dataclass(frozen=True, slots=True)
class ContextUsed:
    """How full the model's context window is now."""

    context: Context


@dataclass(frozen=True, slots=True)
class Degraded:
    """Part of the evidence is missing (hooks do not arrive, say); None means whole again."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class Unusable:
    """The program runs, and nothing can reach it again: it is to be ended, and started again with its session."""

    reason: str


@dataclass(frozen=True, slots=True)
class Warned:
    """The program warns of something that is not about a message; `kind` is one word for it."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the provider told about itself: model, effort, version."""

    values: Mapping[str, Any] = field(default_factory=dict)


Event = (
    SessionStarted
    | SessionLost
    | StateChanged
    | Seen
    | TurnStarted
    | TurnEnded
    | SubagentStarted
    | SubagentEnded
    | PermissionAsked
    | PermissionClosed
    | Limited
    | ContextUsed
    | Degraded
    | Unusable
    | Warned
    | Learnt
)
Emit = Callable[[Event], None]
"""Takes an event at once and never blocks or raises; called on the event loop's thread."""
