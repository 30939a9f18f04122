"""Whom a turn's final text is for, where the turn carried more than one message (steered in, or queued together).

There is one text, and it may answer any of them. A sender with the operator's scope gets it all the same, and is told
what else the turn carried. Anybody else gets it only where everything in the turn was their own: another agent is never
given what was said to a person, or to a third one. What it is owed, it gets as a reply.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from relay_runner.protocol.messages import Message

BY_HAND = "a person at its terminal"


@dataclass(frozen=True, slots=True)
class Share:
    """What one sender gets of a turn."""

    carried: tuple[int, ...] = ()
    """The messages in that turn, where it was not this one alone."""
    withheld: str | None = None
    """Why its text is not for this sender, in one line."""


def share(message: Message, others: Collection[Message], *, by_hand: bool) -> Share:
    """Return what the sender of a message gets of the turn that carried it and the others."""
    ids = sorted({message.id, *(one.id for one in others)})
    carried = tuple(ids) if len(ids) > 1 else ()
    foreign = sorted({one.sender for one in others} - {message.sender})
    if message.operator or not (foreign or by_hand):
        return Share(carried)
    whom = ", ".join([*foreign, *([BY_HAND] if by_hand else [])])
    return Share(carried, f"the turn also answered {whom}: its text is not shared; ask for a reply")
