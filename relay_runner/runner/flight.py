"""One message in the provider, and the questions that are asked about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from relay_runner.errors import ProviderError, TerminalError
from relay_runner.protocol.messages import Message, Outcome
from relay_runner.providers.base import Evidence, Process, TurnState
from relay_runner.runner.journal import Stage

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Flight:
    """One message that is (or may be) in the provider.

    What it waits for is timed by a steady clock (`time.monotonic`): a wall clock that jumps must not give it up.
    """

    message: Message
    attempt: int
    nonce: str
    stage: Stage
    check_at: float
    """When to ask the provider's records."""
    give_up_at: float
    """When an idle provider without any trace means that nobody can know."""
    begun_at: float
    """By the wall clock."""
    seen_at: float | None = None
    continues: bool = False
    """It is the continuation of a message whose turn a limit cut off: that one was seen before."""
    reminds: str | None = None
    """The nonce of the message that this only reminds of: nothing is reported of it."""
    fenced: bool = False
    """The claim is lost: watch it to its end, report nothing."""


def overdue_fact(nonce: str) -> str:
    """Return where the journal keeps that a turn took too long: `overtime` writes it, and its end reads it."""
    return f"overdue:{nonce}"


def interrupted(reason: str) -> Evidence:
    """Return what the records would say of a turn that was cut off, where they say nothing."""
    return Evidence(True, None, TurnState.ENDED, Outcome.INTERRUPTED, None, reason)


async def find(process: Process, nonce: str) -> Evidence | None:
    """Return what the provider's records say, or None where they could not be asked."""
    try:
        return await process.find(nonce)
    except (ProviderError, TerminalError) as error:
        log.warning("the provider's records cannot be read: %s", error)
        return None
