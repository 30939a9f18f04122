"""What the supervisor can be told, and when that counts as done.

An order to end is done when the program is gone. A restart is done when the *next* program takes messages: one that
never does has failed, with the reason, although the old one ended as it should.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from relay_runner.errors import ProviderExited


class Order(StrEnum):
    """What the supervisor can be told."""

    STOP = "stop"
    KILL = "kill"
    RESTART = "restart"
    HAND_OVER = "hand-over"
    """Leave the provider running for another runner."""


@dataclass(slots=True)
class Instruction:
    """An order with its reason, as both sides hold it."""

    order: Order
    reason: str
    code: int = 0
    """What the runner exits with."""
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _failure: str | None = None

    async def carried_out(self) -> None:
        """Return when it is done; raise `ProviderExited` where it came to nothing."""
        await self._settled.wait()
        if self._failure is not None:
            raise ProviderExited(self._failure)

    def done(self) -> None:
        """It is done."""
        self._settled.set()

    def fail(self, reason: str) -> None:
        """It came to nothing; one that was settled before stays as it is."""
        if not self._settled.is_set():
            self._failure = reason
            self._settled.set()


class Restarting:
    """The restart that waits for its new program, if any."""

    def __init__(self) -> None:
        self._instruction: Instruction | None = None

    def begin(self, instruction: Instruction) -> None:
        """The old program is gone for this one; an earlier one that still waits has the same new program."""
        if self._instruction is not None:
            self._instruction.fail("it was restarted again before it was ready")
        self._instruction = instruction

    def ready(self) -> None:
        """A program takes messages."""
        if self._instruction is not None:
            self._instruction.done()
            self._instruction = None

    def fail(self, reason: str) -> None:
        """There is no new program."""
        if self._instruction is not None:
            self._instruction.fail(f"its program did not start: {reason}")
            self._instruction = None
