"""Messages, their deliveries, and what is reported of them.

A *message* is what a sender posts. A *delivery* is that message on its way to one agent (or person), with a
state. A *receipt* is a runner's report that moves a delivery on. The table `MOVES` is the law; `server` and the
memory relay apply it, runners read it.

    queued -> claimed -> submitting -> [submitted ->] seen -> done(outcome)
    queued -> dead            submitting | submitted | seen -> unknown
    seen -> submitting        taken back: the program died, and its records prove that it never had the message
    a lease that runs out: claimed goes back to queued, submitting and later become unknown
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from relay_runner.protocol.attachments import Attachment
from relay_runner.protocol.usage import Usage
from relay_runner.protocol.wire import Wire

MAX_BODY_BYTES = 1024 * 1024
MESSAGE_TTL_S = 7 * 24 * 3600.0
MAX_ATTEMPTS = 5
MAX_HOPS = 20
LEASE_S = 15 * 60.0
"""How long a lease is, unless the relay is configured otherwise."""
EMOJI_MAX_CHARS = 32


UNPROVEN = "unproven"
"""The evidence of a provider that has none: the delivery ends at `submitted`."""


RATE_LIMITED = "rate-limited until "
"""How `held`, and the detail of an agent's status, begin while the agent's model takes no work."""


class Timing(StrEnum):
    """When a message goes in: when the agent is idle, into the running turn, or by interrupting it."""

    QUEUE = "queue"
    STEER = "steer"
    INTERRUPT = "interrupt"


class State(StrEnum):
    """Where one delivery stands."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    SEEN = "seen"
    DONE = "done"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How the turn that carried a message ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    BLOCKED = "blocked"


TERMINAL = frozenset({State.DONE, State.DEAD, State.UNKNOWN})
IN_PROVIDER = frozenset({State.SUBMITTING, State.SUBMITTED, State.SEEN})

OWING = frozenset({State.SUBMITTED, State.SEEN, State.DONE})
"""The states of a delivery from which on a reply that the message asks for is owed."""

# What a runner's receipt may do to a delivery. `submitted | seen -> submitting | queued`: the program died, and its
# records prove that the message never entered it (a hook tells `seen` before anything is written or sent; see
# `deliveries.apply_receipt`). `unknown -> seen | done` is late evidence: the truth wins over a guess.
MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.QUEUED, State.SUBMITTING, State.DEAD}),
    State.CLAIMED: frozenset({State.QUEUED, State.CLAIMED, State.SUBMITTING, State.DEAD}),
    State.SUBMITTING: frozenset(
        {State.QUEUED, State.SUBMITTING, State.SUBMITTED, State.SEEN, State.DONE, State.UNKNOWN, State.DEAD}
    ),
    State.SUBMITTED: frozenset(
        {State.QUEUED, State.SUBMITTING, State.SUBMITTED, State.SEEN, State.DONE, State.UNKNOWN}
    ),
    State.SEEN: frozenset({State.QUEUED, State.SUBMITTING, State.SEEN, State.DONE, State.UNKNOWN}),
    State.DONE: frozenset({State.DONE}),
    State.DEAD: frozenset({State.DEAD}),
    State.UNKNOWN: frozenset({State.UNKNOWN, State.SEEN, State.DONE}),
}


class NewMessage(Wire, frozen=True, kw_only=True):
    """What a sender posts to `POST /messages`."""

    to: str
    body: str
    subject: str | None = None
    timing: Timing = Timing.QUEUE
    claimable: bool = False
    """One delivery that the first claimer takes, instead of one for each agent meant."""
    reply_to: int | None = None
    reply_required: bool = False
    payload: dict[str, Any] = {}
    attachments: tuple[str, ...] = ()
    """Ids of files that were uploaded before."""
    ttl_s: float = MESSAGE_TTL_S
    idempotency_key: str | None = None
    """The same key from the same sender within 24 h answers with the first message and makes no second one."""


class Message(Wire, frozen=True, kw_only=True):
    """A message that the relay accepted."""

    id: int
    sender: str = msgspec.field(name="from")
    """The principal that said it: `agent:<id>` or `person:<login>`."""
    to: str
    body: str
    created_at: float
    expires_at: float
    subject: str | None = None
    timing: Timing = Timing.QUEUE
    claimable: bool = False
    reply_to: int | None = None
    reply_required: bool = False
    payload: dict[str, Any] = {}
    attachments: tuple[Attachment, ...] = ()
    hops: int = 0
    operator: bool = False
    """Sent with the operator scope: may be put as the user's own words. Set by the relay, never by the sender."""


class Delivery(Wire, frozen=True, kw_only=True):
    """One message on its way to one agent or person."""

    message_id: int
    recipient: str | None
    """The principal it is for; None for a claimable message that nobody took yet."""
    state: State = State.QUEUED
    attempt: int = 1
    """Which try this is: a redelivery and a requeue count up, and a receipt of an older try is refused."""
    failures: int = 0
    """Tries that provably failed before anything entered the conversation; the fifth makes it dead."""
    instance_id: str | None = None
    claim_expires_at: float | None = None
    nonce: str | None = None
    evidence: str | None = None
    """What proved `seen`, in the provider's words: `hook:UserPromptSubmit`, `transcript`, or `unproven`."""
    outcome: Outcome | None = None
    result: str | None = None
    """The turn's final text."""
    reason: str | None = None
    """Why it is dead, unknown, failed, or was put back; of one that is done, what its sender has to know beside it."""
    carried: tuple[int, ...] = ()
    """The messages that its turn carried, where that was not this one alone: the turn's text may answer another one."""
    held: str | None = None
    """Why it waits although it could go: `person typing`, `rate-limited until ...`."""
    usage: Usage | None = None
    """What the turns that worked on it cost, as far as the provider tells."""
    not_before: float | None = None
    read_at: float | None = None
    updated_at: float = 0.0


class Reaction(Wire, frozen=True, kw_only=True):
    """One principal's emoji on a message."""

    sender: str = msgspec.field(name="from")
    emoji: str
    created_at: float


class MessageRecord(Wire, frozen=True, kw_only=True):
    """A message with everything that became of it."""

    message: Message
    deliveries: tuple[Delivery, ...] = ()
    replies: tuple[int, ...] = ()
    """Ids of the messages that reply to it, oldest first."""
    reactions: tuple[Reaction, ...] = ()


class MessageQuery(Wire, frozen=True, kw_only=True):
    """Which messages to list, newest first unless `oldest_first`; all conditions hold together."""

    recipient: str | None = None
    """A principal; the claimable messages that it could take count as its own while they are queued."""
    sender: str | None = None
    states: tuple[State, ...] = ()
    unread: bool = False
    open: bool = False
    """Only deliveries on which something is still to be done; see `deliveries.is_open`."""
    reply_to: int | None = None
    after: int | None = None
    """Only ids above this one."""
    oldest_first: bool = False
    limit: int = 100


class ClaimRequest(Wire, frozen=True, kw_only=True):
    """Ask for, or renew, the sole right to handle one message."""

    agent_id: str
    instance_id: str
    attempt: int | None = None
    lease_s: float | None = None
    """None: as long as the relay grants to everybody; see `Welcome`."""


class ClaimResult(Wire, frozen=True, kw_only=True):
    """The answer to a claim: granted with an expiry, or taken by `holder`."""

    granted: bool
    claim_expires_at: float | None = None
    holder: str | None = None
    delivery: Delivery | None = None
    """None where it is another agent's."""


class Release(Wire, frozen=True, kw_only=True):
    """Give a claim back: the delivery is queued again, as another attempt where `failed`."""

    agent_id: str
    instance_id: str
    attempt: int
    reason: str
    failed: bool = False
    """True counts an attempt; the last one (5) makes a dead letter. Legal only before anything entered the provider."""
    delay_s: float = 0.0


class Receipt(Wire, frozen=True, kw_only=True):
    """A runner's report on one delivery. `submitting` on a queued direct delivery takes the claim with it."""

    agent_id: str
    instance_id: str
    attempt: int
    state: State
    nonce: str | None = None
    evidence: str | None = None
    outcome: Outcome | None = None
    result: str | None = None
    reason: str | None = None
    carried: tuple[int, ...] = ()
    held: str | None = None
    usage: Usage | None = None
    lease_s: float | None = None
    """None: as long as the relay grants to everybody; see `Welcome`."""


class NewReply(Wire, frozen=True, kw_only=True):
    """What is posted to `POST /messages/{id}/reply`; it goes to the message's sender."""

    body: str
    subject: str | None = None
    attachments: tuple[str, ...] = ()
    idempotency_key: str | None = None


class NewReaction(Wire, frozen=True, kw_only=True):
    """What is posted to `POST /messages/{id}/reactions`."""

    emoji: str
