"""Turns that take too long, where the person set a limit (`--turn-timeout`): interrupted, and reported as failed.

The turn's time is counted from the proof that the model has the message, or where nothing is proven from its
submission. That it ran out is journalled before the interrupt, so that a successor, too, reports the end as failed and
with the reason.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from relay_runner.errors import ProviderError, TerminalError
from relay_runner.providers.base import Process
from relay_runner.runner.flight import Flight, overdue_fact
from relay_runner.runner.flights import Flights
from relay_runner.runner.journal import Journal

log = logging.getLogger(__name__)

AGAIN_S = 30.0
"""How long an interrupted turn may take to end before it is interrupted once more."""


class Overtime:
    """Interrupt turns that run longer than `limit_s`; without a limit nothing is done."""

    def __init__(
        self, limit_s: float | None, *, flights: Flights, journal: Journal, process: Callable[[], Process | None]
    ) -> None:
        self._limit_s = limit_s
        self._flights = flights
        self._journal = journal
        self._process = process
        self._not_before: dict[str, float] = {}
        self._changed = asyncio.Event()
        flights.on_seen = self._changed.set

    async def run(self) -> None:
        """Watch, for ever."""
        while True:
            self._changed.clear()
            now = time.monotonic()
            due = {flight.nonce: self._due_at(flight) for flight in self._flights.all()}
            self._not_before = {nonce: at for nonce, at in self._not_before.items() if nonce in due}
            for flight in self._flights.all():
                at = due[flight.nonce]
                if at is not None and at <= now:
                    await self._stop(flight)
                    due[flight.nonce] = self._not_before[flight.nonce]
            await self._wait(min((at for at in due.values() if at is not None), default=None))

    def _due_at(self, flight: Flight) -> float | None:
        if self._limit_s is None or flight.seen_at is None:
            return None
        return self._not_before.get(flight.nonce, flight.seen_at + self._limit_s)

    async def _stop(self, flight: Flight) -> None:
        self._not_before[flight.nonce] = time.monotonic() + AGAIN_S
        process = self._process()
        if process is None:
            return
        reason = f"the turn took longer than {self._limit_s:g} s"
        log.warning("message %d: %s; it is interrupted", flight.message.id, reason)
        self._journal.remember(overdue_fact(flight.nonce), reason)
        try:
            await process.interrupt()
        except (ProviderError, TerminalError) as error:
            log.warning("message %d cannot be interrupted: %s", flight.message.id, error)

    async def _wait(self, until: float | None) -> None:
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - time.monotonic())):
                await self._changed.wait()
        except TimeoutError:
            return
