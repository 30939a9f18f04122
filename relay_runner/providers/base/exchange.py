"""What goes into a program and what comes back at once: submissions, evidence, answers, hook calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from relay_runner.protocol.messages import Message, Outcome, Timing
from relay_runner.protocol.permissions import Decision
from relay_runner.protocol.usage import Usage


@dataclass(frozen=True, slots=True)
class Submission:
    """One message to put in, once."""

    message: Message
    nonce: str
    text: str
    """The whole envelope, sanitised: `protocol.envelope.render(message, nonce)`."""

    @property
    def timing(self) -> Timing:
        """When it is to go in."""
        return self.message.timing

    @property
    def operator(self) -> bool:
        """Whether it may be put as the user's own words."""
        return self.message.operator


@dataclass(frozen=True, slots=True)
class Submitted:
    """The message entered the program by `channel`; evidence follows as `Seen`."""

    channel: str


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing entered; try again after `retry_s`. `reason` is shown to people: `person typing`, `dialog open`."""

    reason: str
    retry_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Uncertain:
    """It may or may not have entered; `find` may still tell. Never submitted again by itself."""

    reason: str


SubmitResult = Submitted | Held | Uncertain


class TurnState(StrEnum):
    """What the records say of the turn that carried a message."""

    NONE = "none"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Limit:
    """The model's side takes no more work for a while: a rate limit or a usage limit."""

    reason: str
    """One line in the provider's words."""
    until: float | None = None
    """When it ends, epoch seconds, where the provider told."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the provider's own records say of one nonce."""

    seen: bool
    source: str | None = None
    turn: TurnState = TurnState.NONE
    outcome: Outcome | None = None
    result: str | None = None
    reason: str | None = None
    limit: Limit | None = None
    """The turn failed for this limit; see `TurnEnded.limit`."""
    usage: Usage | None = None
    carried: tuple[str, ...] = ()
    """See `TurnEnded.carried`."""
    by_hand: bool = False
    """See `TurnEnded.by_hand`."""
    unsure: bool = False
    """Not seen, and no proof either that it never entered: `reason` says why."""
    absent: bool = False
    """Proven never to have entered the conversation of a program that is dead, whatever that program told before."""


NOT_FOUND = Evidence(seen=False)
"""The records hold no trace of it."""
ABSENT = Evidence(seen=False, absent=True)
"""No record that there could be holds it."""


def unsure(reason: str) -> Evidence:
    """Return what records say that hold a trace of a message, or should hold one, and do not tell what became of it."""
    return Evidence(seen=False, reason=reason, unsure=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody elsewhere answered to a permission."""

    decision: Decision
    reason: str | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    """By question id: a text, or a list of them."""


@dataclass(frozen=True, slots=True)
class HookCall:
    """One call of a hook at the control server, already authenticated and of this very process."""

    name: str
    payload: Mapping[str, Any]
    gone: asyncio.Event
    """Set when the caller hung up while it was still waiting for the answer."""


@dataclass(frozen=True, slots=True)
class HookReply:
    """What to answer: a JSON object, or None for 204."""

    body: Mapping[str, Any] | None = None
    status: int = 200
