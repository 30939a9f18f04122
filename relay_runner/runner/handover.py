"""One message from the queue into the provider: claim, journal, fetch its files, tell the relay, hand over.

Whatever fails before the hand-over leaves the entry waiting; from the hand-over on a crash leaves a flight that only
evidence can settle.
"""

from __future__ import annotations

import logging
import time

from relay_runner.errors import (
    ClaimLost,
    ProtocolError,
    ProviderError,
    ProviderRefused,
    RelayRefused,
    RelayUnauthorized,
    RelayUnavailable,
    TerminalError,
)
from relay_runner.protocol.envelope import sanitise_line
from relay_runner.protocol.messages import Delivery, Message, State
from relay_runner.providers.base import Held, Process, Submission, Submitted, Uncertain
from relay_runner.relay.base import Relay
from relay_runner.runner import backoff
from relay_runner.runner.attachments import AttachmentCache
from relay_runner.runner.claims import Claims
from relay_runner.runner.enveloping import rendered
from relay_runner.runner.flight import Flight
from relay_runner.runner.flights import Flights
from relay_runner.runner.group import task_group
from relay_runner.runner.journal import Journal, Stage
from relay_runner.runner.local import LOCAL_ID
from relay_runner.runner.obstacles import Obstacles
from relay_runner.runner.queue import Entry, InboxQueue
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.submit import DISK_FULL, submit
from relay_runner.runner.submit import RETRY_S as DISK_RETRY_S

log = logging.getLogger(__name__)

RETRY_S = 2.0
SOON_S = 0.2
UNAUTHORIZED_RETRY_S = 60.0
MAX_HELD_S = 5.0
"""What is held again and again is looked at less and less often, down to this."""


class Handover:
    """Take entries off the queue and put them in, or put them back."""

    def __init__(
        self,
        *,
        relay: Relay,
        journal: Journal,
        claims: Claims,
        receipts: Receipts,
        flights: Flights,
        queue: InboxQueue,
        attachments: AttachmentCache,
        obstacles: Obstacles,
    ) -> None:
        self._relay = relay
        self._journal = journal
        self._claims = claims
        self._receipts = receipts
        self._flights = flights
        self._queue = queue
        self._attachments = attachments
        self._obstacles = obstacles
        self._going: Entry | None = None
        """What is being put in just now: whatever happens to it meanwhile, its next step finds out."""

    async def deliver(self, process: Process, process_id: str | None, entry: Entry) -> tuple[Message, Delivery] | None:
        """Put one entry in; return it as the relay has it now where it was put back."""
        self._going = entry
        try:
            return await self._deliver(process, process_id, entry)
        finally:
            self._going = None

    async def _deliver(self, process: Process, process_id: str | None, entry: Entry) -> tuple[Message, Delivery] | None:
        if self._journal.pending(entry.message.id):
            # What is told of an earlier try must not arrive after this one is announced: it would count for this one.
            entry.not_before = time.time() + SOON_S
            return None
        try:
            if not await self._claim(entry):
                self.drop(entry)
                return None
            nonce = self._journal.begin(entry.message, entry.attempt, process_id, time.time())
            if self._journal.held_in_memory:
                await self._hold(entry, Held(DISK_FULL, DISK_RETRY_S), nonce)
                return None
            enclosed = await self._attachments.fetch(entry.message)
            submission = Submission(entry.message, nonce, await rendered(entry.message, nonce, enclosed))
            held = await self._announce(process, submission, entry)
        except (RelayUnavailable, ProtocolError) as error:
            log.info("message %d waits for the relay: %s", entry.message.id, error)
            entry.not_before = time.time() + RETRY_S
        except RelayUnauthorized as error:
            log.error("message %d waits for a good token: %s", entry.message.id, error)
            entry.not_before = time.time() + UNAUTHORIZED_RETRY_S
        except (ClaimLost, RelayRefused) as error:
            log.warning("message %d is not ours any more: %s", entry.message.id, error)
            self.drop(entry)
        except (ProviderError, TerminalError) as error:
            log.warning("message %d waits for the provider: %s", entry.message.id, error)
            entry.not_before = time.time() + RETRY_S
        else:
            if held is not None:
                await self._hold(entry, held, nonce)
            else:
                return await self._hand_over(process, entry, submission)
        return None

    def drop(self, entry: Entry) -> None:
        """Forget an entry of which nothing entered: somebody else has it."""
        if row := self._journal.get(entry.key):
            self._journal.forget(row.nonce)
        self._queue.remove(entry.key)
        self._claims.drop(entry.message.id)
        self._obstacles.over(entry.message.id)

    def lose(self, message_id: int) -> None:
        """Forget what waits of a message that is not ours any more; where it still is, the relay shows it again."""
        for entry in self._queue.waiting():
            if entry.message.id == message_id and entry is not self._going:
                self.drop(entry)

    async def give_back(self, reason: str) -> None:
        """Give back what the relay holds for us and of which nothing entered: it goes in elsewhere, or the next time.

        Else its lease would run out, and nobody could tell any more that it did not enter.
        """
        for entry in self._queue.waiting():
            ours = entry.claimed or self._journal.get(entry.key) is not None
            queued_there = entry.held and not entry.message.claimable
            if entry is self._going or entry.message.id == LOCAL_ID or not ours or queued_there:
                continue
            try:
                await self._relay.release(entry.message.id, self._claims.release(entry.attempt, reason))
            except RelayRefused as error:
                if not await self._take_back(entry, reason):
                    log.info("cannot give message %d back: %s", entry.message.id, error)
                    continue  # the next runner finds in the journal that nothing entered
            except ClaimLost as error:
                log.info("message %d is not ours any more: %s", entry.message.id, error)
            self.drop(entry)

    async def _take_back(self, entry: Entry, reason: str) -> bool:
        """Give back what was told as seen, by a program that died and never had it; say whether that could be done."""
        row = self._journal.get(entry.key)
        if row is None or row.stage is not Stage.SUBMITTING:
            return False
        receipt = self._receipts.make(
            entry.attempt, State.QUEUED, row.nonce, reason=f"{reason}, and the provider never had it"
        )
        try:
            await self._relay.receipt(entry.message.id, receipt)
        except RelayRefused as error:
            log.info("cannot take message %d back: %s", entry.message.id, error)
            return False
        return True

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

    async def _announce(self, process: Process, submission: Submission, entry: Entry) -> Held | None:
        """Tell the relay that we submit, and look meanwhile whether we can; what was held before is looked at first."""
        if entry.held is not None and (held := await process.obstacle(submission)) is not None:
            return held
        # From here on the relay knows of no hold, and has it on its way in: under a lease that is to be kept.
        entry.held = entry.held and ""
        self._claims.hold(entry.message.id, entry.attempt)
        receipt = self._receipts.make(entry.attempt, State.SUBMITTING, submission.nonce)
        async with task_group() as group:
            looking = group.create_task(process.obstacle(submission))
            told = await self._relay.receipt(submission.message.id, receipt)
        if told.state is State.DEAD:
            raise ClaimLost(f"message {submission.message.id} is dead: {told.reason}")
        return looking.result()

    async def _hand_over(
        self, process: Process, entry: Entry, submission: Submission
    ) -> tuple[Message, Delivery] | None:
        self._queue.remove(entry.key)
        flight = self._flights.take_off(
            entry.message, entry.attempt, submission.nonce, Stage.HANDING, check_in_s=backoff.LIMIT_S
        )
        self._journal.advance(flight.nonce, Stage.HANDING, time.time())
        try:
            result = await submit(self._journal, process, submission)
            if not isinstance(result, Held):
                self._obstacles.over(entry.message.id)
        except ProviderRefused as error:
            return None if self._flights.proven(flight) else await self._put_back(flight, str(error))
        except (ProviderError, TerminalError) as error:
            # The provider is going down: its records are asked when it is gone.
            log.warning("message %d: %s", flight.message.id, error)
            flight.check_at = time.monotonic()
            return None
        if flight.nonce not in self._flights:
            return None  # the process ended meanwhile, and `detach` settled it
        match result:
            case Submitted(channel):
                self._flights.submitted(flight, channel)
            case Held() if not self._flights.proven(flight):
                self._flights.land(flight)
                await self._hold(entry, result, flight.nonce)
            case Uncertain(reason):
                log.warning("message %d may have entered the provider: %s", flight.message.id, reason)
                flight.check_at = time.monotonic()
        return None

    async def _hold(self, entry: Entry, held: Held, nonce: str) -> None:
        """Nothing entered and nothing failed: try again soon, and let the sender see why it waits.

        The journal keeps the entry as `submitting`: a poll that still shows it so at the relay recognises it.
        """
        self._journal.advance(nonce, Stage.SUBMITTING, time.time())
        news, again = held.reason != entry.held, held.reason == entry.reason
        entry.retry_s = min(max(entry.retry_s, held.retry_s) * 1.5, MAX_HELD_S) if again else held.retry_s
        entry.held = entry.reason = held.reason
        self._obstacles.met(entry.message.id, held.reason)
        entry.not_before = time.time() + entry.retry_s
        # A claimable message is anybody's again while it is held here: it is claimed anew for the next try.
        entry.claimed = not entry.message.claimable
        self._queue.add(entry)
        if not news:
            return
        if not again:  # it is looked at again and again: the log is told once
            log.info("message %d is held: %s", entry.message.id, held.reason)
        receipt = self._receipts.make(entry.attempt, State.QUEUED, nonce, held=held.reason)
        try:
            await self._relay.receipt(entry.message.id, receipt)
            self._claims.drop(entry.message.id)
        except (RelayUnavailable, RelayRefused, ProtocolError, ClaimLost) as error:
            entry.held = ""  # the relay does not know: say it again next time, and keep its lease until then
            self._claims.hold(entry.message.id, entry.attempt)
            log.info("message %d is held, and the relay does not know: %s", entry.message.id, error)

    async def _put_back(self, flight: Flight, reason: str) -> tuple[Message, Delivery] | None:
        """Nothing entered: the relay queues it again as another attempt, or ends it after the last."""
        self._obstacles.over(flight.message.id)
        self._flights.land(flight)
        self._journal.advance(flight.nonce, Stage.SUBMITTING, time.time())
        delay_s = backoff.of_attempt(flight.attempt)
        log.warning("message %d did not enter the provider (attempt %d): %s", flight.message.id, flight.attempt, reason)
        try:
            release = self._claims.release(flight.attempt, sanitise_line(reason), failed=True, delay_s=delay_s)
            delivery = await self._relay.release(flight.message.id, release)
        except (RelayUnavailable, RelayUnauthorized, ProtocolError):
            # It stays ours as the same attempt.
            self._queue.add(Entry(flight.message, flight.attempt, not_before=time.time() + delay_s, claimed=True))
            self._claims.hold(flight.message.id, flight.attempt)
        except (ClaimLost, RelayRefused) as error:
            log.warning("message %d is not ours any more: %s", flight.message.id, error)
            self._journal.forget(flight.nonce)
        else:
            self._journal.forget(flight.nonce)
            return flight.message, delivery
        return None
