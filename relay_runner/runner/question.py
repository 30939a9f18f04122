"""One thing that an agent asks, as the runner keeps it: frozen values, and how its end is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from relay_runner.protocol.permissions import AT_THE_TERMINAL, Decision, NewPermission, PermissionUpdate, Resolution
from relay_runner.protocol.wire import Wire
from relay_runner.providers.base import Answer, PermissionClosed

AWAY = "it was over when the runner came back"


class Given(Wire, frozen=True, kw_only=True):
    """An answer from elsewhere, and whose it is."""

    decision: Decision
    reason: str | None = None
    answers: dict[str, Any] = msgspec.field(default_factory=dict)
    by: str | None = None

    @property
    def answer(self) -> Answer:
        """What the program is given."""
        return Answer(self.decision, self.reason, self.answers)


class Entry(Wire, frozen=True, kw_only=True):
    """One question; frozen, so that what is journalled is what is known."""

    new: NewPermission
    """As the relay is told of it."""
    given: Given | None = None
    """The answer that goes in: the first from the relay, or our own denial at the deadline."""
    expired: bool = False
    """`given` is our own: nobody answered."""
    put: bool = False
    """`given` is in the program."""
    stuck: bool = False
    """`given` cannot be put in; the terminal has to answer."""
    left: bool = False
    """The deadline is over, and the program's own dialog asks."""
    note: str | None = None
    resolution: Resolution | None = None
    decision: Decision | None = None
    """What was answered, where that is known."""
    opened: bool = False
    """The relay knows that it is asked."""
    noted: str | None = None
    """The note that the relay knows."""
    reopened: bool = False
    """The answer that went in had no effect, and the relay does not know that yet."""
    stale: bool = False
    """Asked of an earlier runner; the program has not said again that it asks."""

    @property
    def id(self) -> str:
        """The permission's id."""
        return self.new.id

    @property
    def over(self) -> bool:
        """Whether the program asks no more."""
        return self.resolution is not None


@dataclass(frozen=True, slots=True)
class Put:
    """Put this answer into the program."""

    id: str
    given: Given


@dataclass(frozen=True, slots=True)
class Leave:
    """Let the program's own dialog ask."""

    id: str


Step = Put | Leave


@dataclass(frozen=True, slots=True)
class Report:
    """What the relay is to be told next: that it is asked, or what came of it."""

    id: str
    call: NewPermission | PermissionUpdate


def awaits(entry: Entry) -> bool:
    """Say whether the deadline is still to come for an entry."""
    return not (entry.over or entry.put or entry.left or entry.expired)


def close(entry: Entry, event: PermissionClosed) -> Entry:
    """Return the entry as the end of the question leaves it."""
    given = entry.given
    ours = given is not None and entry.put and event.decision in (None, given.decision)
    if ours and given is not None:
        resolution = Resolution.EXPIRED if entry.expired else Resolution.APPLIED
        decision: Decision | None = given.decision
    elif entry.expired and not event.answered:
        resolution, decision = Resolution.EXPIRED, None  # it could be ended by an interrupt only
    elif event.answered:
        resolution, decision = Resolution.TERMINAL, event.decision
    else:
        resolution, decision = Resolution.WITHDRAWN, event.decision
    note = entry.note if entry.note != AT_THE_TERMINAL else None
    return replace(entry, resolution=resolution, decision=decision, note=note)
