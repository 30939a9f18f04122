"""Permissions: a provider asks to act, somebody answers, and everybody is told.

    open -> decided -> closed        somebody answered over the relay, and the runner put the answer in
    open -> decided -> open          the answer went in and had no effect, or could not be put in: it is asked again
    open -> closed                   answered at the provider's own dialog, run out, or withdrawn

A runner opens a permission under an id of its own choosing, so that telling the relay twice is telling it once. The
first decision wins; a later one is refused and told which one stands. Only operators decide: an agent never approves
itself.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any

from relay_runner.protocol.wire import Wire

PERMISSION_DEADLINE_S = 540.0
"""How long an answer from elsewhere is waited for: below the least time that a provider's own hook waits (600 s)."""
AT_THE_TERMINAL = "answer at the terminal"
"""The note of a permission that only the provider's own dialog can answer (any more)."""
ID_CHARS = 10


def permission_id(*parts: str) -> str:
    """Return the id of a question: short enough to type, the same for the same parts.

    The parts must tell the question from every other one of every session and process.
    """
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:ID_CHARS]


class Decision(StrEnum):
    """An answer to a permission."""

    APPROVE = "approve"
    APPROVE_SESSION = "approve-session"
    """This very thing again in this session without asking: exact rules, never a wider mode."""
    APPROVE_ALWAYS = "approve-always"
    """The standing rule that the provider offers; only where it offers one, and it is kept in an isolated home."""
    DENY = "deny"
    """Not this; the turn goes on with the reason."""
    ABORT = "abort"
    """Not this, and the turn ends."""


class PermissionState(StrEnum):
    """Where a permission stands."""

    OPEN = "open"
    DECIDED = "decided"
    CLOSED = "closed"


class Resolution(StrEnum):
    """How a permission came to be closed."""

    APPLIED = "applied"
    """The decision from the relay went in."""
    TERMINAL = "terminal"
    """Answered at the provider's own dialog."""
    EXPIRED = "expired"
    """Nobody answered by the deadline, and it was denied for that reason."""
    WITHDRAWN = "withdrawn"
    """The provider asks no more: the turn was interrupted, or the process ended."""


class Question(Wire, frozen=True, kw_only=True):
    """One thing to be told with an approval: a choice or a free text."""

    id: str
    text: str
    options: tuple[str, ...] = ()
    """Empty: any text."""
    other: bool = False
    """Whether a text that is none of the options is an answer as well."""
    multiple: bool = False
    required: bool = True
    secret: bool = False
    """Its answer is forgotten when the permission is closed."""


class NewPermission(Wire, frozen=True, kw_only=True):
    """What a runner posts to `POST /permissions`; the same id again changes no more than what can be answered."""

    id: str
    agent_id: str
    instance_id: str
    kind: str
    """What is asked for: `command`, `change`, `tool`, `network`, `form`, `question`, `plan`."""
    title: str
    """One line for a person: the command, the file, the tool."""
    detail: str | None = None
    """More of it: a diff, the arguments, the reason that the model gave."""
    decisions: tuple[Decision, ...] = (Decision.APPROVE, Decision.DENY)
    """What may be answered; none where only the terminal can answer."""
    questions: tuple[Question, ...] = ()
    note: str | None = None
    session_id: str | None = None
    expires_at: float | None = None
    metadata: dict[str, Any] = {}


class Permission(Wire, frozen=True, kw_only=True):
    """A permission as the relay keeps it."""

    id: str
    agent_id: str
    instance_id: str
    kind: str
    title: str
    created_at: float
    detail: str | None = None
    decisions: tuple[Decision, ...] = ()
    questions: tuple[Question, ...] = ()
    session_id: str | None = None
    expires_at: float | None = None
    metadata: dict[str, Any] = {}
    state: PermissionState = PermissionState.OPEN
    decision: Decision | None = None
    reason: str | None = None
    answers: dict[str, Any] = {}
    decided_by: str | None = None
    """The principal that answered."""
    decided_at: float | None = None
    resolution: Resolution | None = None
    note: str | None = None
    """What a person must know: `answer at the terminal`."""
    updated_at: float = 0.0


class NewDecision(Wire, frozen=True, kw_only=True):
    """What is posted to `POST /permissions/{id}/decision` (needs the operator scope)."""

    decision: Decision
    reason: str | None = None
    answers: dict[str, Any] = {}
    """By question id: a text, or a list of them where several may be chosen."""


class PermissionQuery(Wire, frozen=True, kw_only=True):
    """Which permissions are asked for; the oldest comes first."""

    agent_id: str | None = None
    """None: every agent's (needs the operator scope)."""
    open: bool = False
    """Only those that are not closed."""
    limit: int = 100
    """The newest so many."""


class PermissionUpdate(Wire, frozen=True, kw_only=True):
    """What a runner posts to `PATCH /permissions/{id}`: how it ended, or a note for people."""

    agent_id: str
    instance_id: str
    resolution: Resolution | None = None
    decision: Decision | None = None
    """What was answered, where that is known."""
    by: str | None = None
    """Who answered, where it did not come as a decision over the relay."""
    note: str | None = None
    decisions: tuple[Decision, ...] | None = None
    """What may be answered from now on; none when it was left to the terminal."""
    reopened: bool = False
    """The answer had no effect: it is asked as if nobody had answered, and `note` says why."""
