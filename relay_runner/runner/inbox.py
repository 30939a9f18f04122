"""Every message goes in once and in order: take from the relay, claim, journal, hand over.

One delivery is in the provider at a time (steered ones aside); what is in it is the business of `flights`.
"""

from __future__ import annotations

import asyncio
import logging
import time

from relay_runner.errors import (
    ClaimLost,
    ProviderError,
    ProviderRefused,
    RelayRefused,
    RelayUnauthorized,
    RelayUnavailable,
    TerminalError,
)
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.envelope import render, sanitise_line
from relay_runner.protocol.messages import (
    IN_PROVIDER,
    TERMINAL,
    Delivery,
    Message,
    MessageRecord,
    Release,
    State,
    Timing,
)
from relay_runner.providers.base import (
    Capabilities,
    Event,
    Held,
    Process,
    ProcessState,
    Seen,
    StateChanged,
    Submission,
    Submitted,
    TurnEnded,
    TurnStarted,
    Uncertain,
)
from relay_runner.relay.base import Relay
from relay_runner.runner import backoff
from relay_runner.runner.claims import Claims
from relay_runner.runner.flights import Flight, Flights
from relay_runner.runner.group import task_group
from relay_runner.runner.journal import Journal, Stage
from relay_runner.runner.queue import Entry, InboxQueue
from relay_runner.runner.receipts import Receipts

log = logging.getLogger(__name__)

RETRY_S = 2.0
UNAUTHORIZED_RETRY_S = 60.0


class Inbox:
    """Take messages from the relay and put them into the provider."""

    def __init__(
        self,
        *,
        relay: Relay,
        journal: Journal,
        claims: Claims,
        receipts: Receipts,
        flights: Flights,
        capabilities: Capabilities,
        agent_id: str,
        joined: asyncio.Event,
    ) -> None:
        self._relay = relay
        self._journal = journal
        self._claims = claims
        self._receipts = receipts
        self._flights = flights
        self._capabilities = capabilities
        self._me = agent_principal(agent_id)
        self._joined = joined
        self._queue = InboxQueue()
        self._process: Process | None = None
        self._process_id: str | None = None
        self._changed = asyncio.Event()
        claims.on_lost = self._lost

    # --- what others tell it ------------------------------------------------------------------------------------------

    def offer(self, message: Message, delivery: Delivery) -> None:
        """Take note of a delivery, new or known; the same one may be offered any number of times."""
        entry = Entry(message, delivery.attempt, not_before=delivery.not_before or 0.0)
        if delivery.state in TERMINAL or delivery.recipient not in (self._me, None):
            return
        row = self._journal.get(entry.key)
        if row is None and delivery.state in IN_PROVIDER and delivery.nonce is not None:
            self._take_over(message, delivery, delivery.nonce)
        elif row is None:
            entry.claimed = delivery.state is State.CLAIMED
            self._queue.add(entry)
        elif row.stage is Stage.SETTLED and not self._journal.pending(message.id):
            self._flights.say_again(row)
        self._changed.set()

    def offer_all(self, records: list[MessageRecord]) -> None:
        """Take note of a backlog."""
        for record in records:
            for delivery in record.deliveries:
                self.offer(record.message, delivery)

    async def attach(self, process: Process, process_id: str) -> None:
        """Deliver into this process from now on, after judging what was open before it was ours."""
        for row in self._journal.open():
            if row.nonce in self._flights or row.key in self._queue:
                continue
            if row.stage is Stage.SUBMITTING:
                self._queue.add(Entry(row.message, row.attempt, claimed=True))
                continue
            flight = self._flights.take_off(row.message, row.attempt, row.nonce, row.stage, check_in_s=0.0)
            if row.process not in (None, process_id):
                await self._settle_dead(flight, process)
        self._process, self._process_id = process, process_id
        self._changed.set()

    async def detach(self) -> None:
        """Stop delivering: the process ended. Its records tell what became of the flights."""
        process, self._process, self._process_id = self._process, None, None
        if process is not None:
            for flight in self._flights.all():
                await self._settle_dead(flight, process)

    def event(self, event: Event) -> None:
        """Take note of what the provider reports."""
        match event:
            case Seen(nonce, evidence):
                self._flights.seen(nonce, evidence)
            case TurnStarted(nonces=nonces, source=source):
                for nonce in nonces:
                    self._flights.seen(nonce, source)
            case TurnEnded(nonces=nonces):
                for nonce in nonces:
                    self._flights.turn_ended(nonce, event)
            case StateChanged(ProcessState.IDLE):
                self._flights.provider_idle()
        self._changed.set()

    @property
    def in_flight(self) -> bool:
        """Whether a message is, or may be, in the provider."""
        return len(self._flights) > 0

    @property
    def queued(self) -> int:
        """How many messages wait here."""
        return len(self._queue)

    async def hand_back(self) -> None:
        """Give the claims back of which nothing entered the provider, so that others can take them at once."""
        for entry in self._queue.waiting():
            if entry.claimed and entry.message.claimable:
                await self._relay.release(entry.message.id, self._release(entry.attempt, "the agent stopped"))
                self._claims.drop(entry.message.id)

    def _lost(self, message_id: int) -> None:
        for entry in self._queue.waiting():
            if entry.message.id == message_id:
                self._queue.remove(entry.key)
        self._flights.fence(message_id)
        self._changed.set()

    def _take_over(self, message: Message, delivery: Delivery, nonce: str) -> None:
        """The relay says that it is in the provider, and our journal does not know it: lost, or another machine's."""
        stage = Stage.SEEN if delivery.state is State.SEEN else Stage.HANDING
        self._journal.restore(message, delivery.attempt, nonce, stage, time.time())
        self._flights.take_off(message, delivery.attempt, nonce, stage, check_in_s=0.0)

    async def _settle_dead(self, flight: Flight, process: Process) -> None:
        if not await self._flights.settle_dead(flight, process):
            log.info("message %d did not enter before the provider ended: it goes in again", flight.message.id)
            self._journal.forget(flight.nonce)
            self._queue.add(Entry(flight.message, flight.attempt, claimed=True))

    # --- the service --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver, for ever."""
        await self._joined.wait()
        while True:
            self._changed.clear()
            if self._process is not None:
                await self._flights.check(self._process)
            entry = self._next()
            if entry is None or self._process is None:
                await self._wait()
            elif entry.message.timing is Timing.INTERRUPT and self._process.state is ProcessState.BUSY:
                await self._interrupt(self._process, entry)
            else:
                await self._deliver(self._process, entry)

    def _next(self) -> Entry | None:
        if self._process is None or self._process.state not in (ProcessState.IDLE, ProcessState.BUSY):
            return None
        busy = self._process.state is ProcessState.BUSY
        return self._queue.next(
            time.time(),
            idle=not busy and not self._flights,
            can_steer=busy and self._capabilities.steer,
            can_interrupt=busy and self._capabilities.interrupt,
        )

    async def _wait(self) -> None:
        now = time.time()
        times = [at for at in (self._flights.next_check(), self._queue.next_due(now)) if at is not None]
        try:
            async with asyncio.timeout(max(0.0, min(times) - now) if times and self._process else None):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _deliver(self, process: Process, entry: Entry) -> None:
        """Claim, journal, tell the relay, hand over; whatever fails before the hand-over leaves the entry waiting."""
        try:
            if not await self._claim(entry):
                self._queue.remove(entry.key)
                return
            nonce = self._journal.begin(entry.message, entry.attempt, self._process_id, time.time())
            submission = Submission(entry.message, nonce, render(entry.message, nonce))
            obstacle = await self._announce(process, submission, entry.attempt)
        except RelayUnavailable as error:
            log.info("message %d waits for the relay: %s", entry.message.id, error)
            entry.not_before = time.time() + RETRY_S
        except RelayUnauthorized as error:
            log.error("message %d waits for a good token: %s", entry.message.id, error)
            entry.not_before = time.time() + UNAUTHORIZED_RETRY_S
        except (ClaimLost, RelayRefused) as error:
            log.warning("message %d is not ours any more: %s", entry.message.id, error)
            self._drop(entry)
        except (ProviderError, TerminalError) as error:
            log.warning("message %d waits for the provider: %s", entry.message.id, error)
            entry.not_before = time.time() + RETRY_S
        else:
            self._queue.remove(entry.key)
            flight = self._take_off(entry, nonce)
            if obstacle is not None:
                await self._hold(flight, obstacle)
            else:
                await self._hand_over(process, flight, submission)

    async def _claim(self, entry: Entry) -> bool:
        """Take a claimable message; "taken by another" is False, "could not ask" is raised."""
        if not entry.message.claimable or entry.claimed:
            return True
        result = await self._relay.claim(entry.message.id, self._claims.request(entry.attempt))
        if not result.granted:
            log.info("message %d was taken by %s", entry.message.id, result.holder)
            return False
        entry.claimed = True
        self._claims.hold(entry.message.id, entry.attempt)
        return True

    def _drop(self, entry: Entry) -> None:
        if row := self._journal.get(entry.key):
            self._journal.forget(row.nonce)
        self._queue.remove(entry.key)
        self._claims.drop(entry.message.id)

    async def _announce(self, process: Process, submission: Submission, attempt: int) -> Held | None:
        """Tell the relay that we submit, and look meanwhile whether we can."""
        receipt = self._receipts.make(attempt, State.SUBMITTING, submission.nonce)
        async with task_group() as group:
            looking = group.create_task(process.obstacle(submission))
            await self._relay.receipt(submission.message.id, receipt)
        return looking.result()

    def _take_off(self, entry: Entry, nonce: str) -> Flight:
        return self._flights.take_off(entry.message, entry.attempt, nonce, Stage.SUBMITTING, check_in_s=backoff.LIMIT_S)

    async def _hand_over(self, process: Process, flight: Flight, submission: Submission) -> None:
        """Put one message in; from here on a crash leaves a flight that only evidence can settle."""
        self._flights.handing(flight)
        try:
            result = await process.submit(submission)
        except ProviderRefused as error:
            await self._put_back(flight, str(error))
        except (ProviderError, TerminalError) as error:
            # The provider is going down: its records are asked when it is gone, by `detach` or, if that was, now.
            log.warning("message %d: %s", flight.message.id, error)
            if self._process is not process and flight.nonce in self._flights:
                await self._settle_dead(flight, process)
        else:
            if flight.nonce not in self._flights:
                return  # the process ended meanwhile, and `detach` settled it
            match result:
                case Submitted(channel):
                    self._flights.submitted(flight, channel)
                case Held():
                    await self._hold(flight, result)
                case Uncertain(reason):
                    log.warning("message %d may have entered the provider: %s", flight.message.id, reason)
                    flight.check_at = time.time()

    async def _hold(self, flight: Flight, held: Held) -> None:
        """Nothing entered and nothing failed: try again soon, and let the sender see why it waits."""
        self._flights.land(flight)
        self._journal.forget(flight.nonce)
        # A claimable message is anybody's again while it is held here: it is claimed anew for the next try.
        entry = Entry(flight.message, flight.attempt, time.time() + held.retry_s, claimed=not flight.message.claimable)
        self._queue.add(entry)
        receipt = self._receipts.make(flight.attempt, State.QUEUED, flight.nonce, held=held.reason)
        try:
            await self._relay.receipt(flight.message.id, receipt)
        except (RelayUnavailable, RelayRefused, ClaimLost) as error:
            log.info("message %d is held (%s), and the relay does not know: %s", flight.message.id, held.reason, error)

    async def _put_back(self, flight: Flight, reason: str) -> None:
        """Nothing entered: the relay queues it again as another attempt, or ends it after the last."""
        self._flights.land(flight)
        delay_s = backoff.of_attempt(flight.attempt)
        log.warning("message %d did not enter the provider (attempt %d): %s", flight.message.id, flight.attempt, reason)
        try:
            release = self._release(flight.attempt, sanitise_line(reason), failed=True, delay_s=delay_s)
            delivery = await self._relay.release(flight.message.id, release)
        except RelayUnavailable:
            # It stays ours as the same attempt.
            self._journal.advance(flight.nonce, Stage.SUBMITTING, time.time())
            self._queue.add(Entry(flight.message, flight.attempt, not_before=time.time() + delay_s, claimed=True))
        except (ClaimLost, RelayRefused) as error:
            log.warning("message %d is not ours any more: %s", flight.message.id, error)
            self._journal.forget(flight.nonce)
        else:
            self._journal.forget(flight.nonce)
            self.offer(flight.message, delivery)

    async def _interrupt(self, process: Process, entry: Entry) -> None:
        """End the running turn for a message that must not wait; it goes in once the provider is idle."""
        entry.not_before = time.time() + RETRY_S
        try:
            await process.interrupt()
        except (ProviderError, TerminalError) as error:
            log.warning("message %d cannot interrupt: %s", entry.message.id, error)
        else:
            entry.not_before = 0.0 if process.state is ProcessState.IDLE else time.time() + 0.2

    def _release(self, attempt: int, reason: str, *, failed: bool = False, delay_s: float = 0.0) -> Release:
        request = self._claims.request()
        return Release(
            agent_id=request.agent_id,
            instance_id=request.instance_id,
            attempt=attempt,
            reason=reason,
            failed=failed,
            delay_s=delay_s,
        )
