"""What was begun before: by a runner that is gone, or in a program that ended; judged by evidence, never by guessing.

Of what provably did not enter, another try goes in; what may have entered is watched until the provider's records say.
"""

from __future__ import annotations

import logging
import time

from relay_runner.protocol.messages import Delivery, Message, State
from relay_runner.providers.base import Process
from relay_runner.runner.claims import Claims
from relay_runner.runner.continuing import Continuing
from relay_runner.runner.flight import Flight
from relay_runner.runner.flights import Flights
from relay_runner.runner.journal import Journal, Row, Stage
from relay_runner.runner.queue import Entry, InboxQueue
from relay_runner.runner.reminding import Reminding

log = logging.getLogger(__name__)


class Leftovers:
    """Give everything that is open to those who go on with it."""

    def __init__(
        self,
        *,
        journal: Journal,
        claims: Claims,
        flights: Flights,
        queue: InboxQueue,
        continuing: Continuing,
        reminding: Reminding,
    ) -> None:
        self._journal = journal
        self._claims = claims
        self._flights = flights
        self._queue = queue
        self._continuing = continuing
        self._reminding = reminding

    async def judge(self, process: Process, process_id: str) -> None:
        """Take up what the journal has open and nobody has in hand, for a process that is about to be delivered to."""
        for row in self._journal.open():
            if not (row.nonce in self._flights or row.key in self._queue or row.nonce in self._reminding):
                await self._take_up(row, process, process_id)

    async def _take_up(self, row: Row, process: Process, process_id: str) -> None:
        if row.stage is Stage.OWED:
            self._claims.hold(row.message.id, row.attempt)
            self._reminding.resume(row, process_id)
        elif row.stage is Stage.LIMITED or (row.stage is Stage.SUBMITTING and row.continues):
            self._continuing.add(row)
        elif row.stage is Stage.SUBMITTING:
            self.wait_again(row.message, row.attempt)
        else:
            flight = self._flights.take_off(
                row.message, row.attempt, row.nonce, row.stage, check_in_s=0.0, continues=row.continues is not None
            )
            if row.process not in (None, process_id):
                await self.settle(flight, process)

    def restore(self, message: Message, delivery: Delivery, nonce: str) -> None:
        """The relay says that it is in the provider, and our journal does not know it: lost, or another machine's."""
        stage = Stage.SEEN if delivery.state is State.SEEN else Stage.HANDING
        self._journal.restore(message, delivery.attempt, nonce, stage, time.time())
        self._flights.take_off(message, delivery.attempt, nonce, stage, check_in_s=0.0)

    async def settle(self, flight: Flight, process: Process) -> None:
        """End a flight whose program is gone for good, or have it go in again where it provably did not enter."""
        if await self._flights.settle_dead(flight, process):
            return
        if flight.continues:
            self._continuing.back(flight.nonce)
        else:
            told = ", although it was reported as seen" if flight.stage is Stage.SEEN else ""
            log.info("message %d did not go in before the provider ended%s: trying again", flight.message.id, told)
            self._journal.again(flight.nonce, time.time())
            self.wait_again(flight.message, flight.attempt)

    def wait_again(self, message: Message, attempt: int) -> None:
        """Nothing of it entered, and it is ours as the same attempt: the relay's lease is kept alive meanwhile."""
        self._queue.add(Entry(message, attempt, claimed=True))
        self._claims.hold(message.id, attempt)
