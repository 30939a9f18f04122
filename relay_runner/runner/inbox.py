"""Every message goes in once and in order: take from the relay, claim, journal, hand over.

One delivery is in the provider at a time (steered ones aside); what is in it is the business of `flights`.
"""

from __future__ import annotations

import asyncio
import logging
import time

from msgspec.structs import replace

from relay_runner.errors import ProviderError, TerminalError
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.messages import (
    IN_PROVIDER,
    TERMINAL,
    UNPROVEN,
    Delivery,
    Message,
    MessageRecord,
    State,
    Timing,
)
from relay_runner.protocol.shape import pruned
from relay_runner.providers.base import (
    Capabilities,
    Event,
    Process,
    ProcessState,
    Seen,
    StateChanged,
    TurnEnded,
    TurnStarted,
)
from relay_runner.relay.base import Relay
from relay_runner.runner.attachments import AttachmentCache
from relay_runner.runner.claims import Claims
from relay_runner.runner.continuing import Continuing, CutOff
from relay_runner.runner.flights import Flights
from relay_runner.runner.handover import Handover
from relay_runner.runner.holding import Holding
from relay_runner.runner.journal import Journal, Stage
from relay_runner.runner.leftovers import Leftovers
from relay_runner.runner.obstacles import Obstacles
from relay_runner.runner.queue import Entry, InboxQueue
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.refusing import Refusing
from relay_runner.runner.reminding import Owed, Reminding
from relay_runner.runner.waits import Waits

log = logging.getLogger(__name__)

RETRY_S = 2.0


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
        attachments: AttachmentCache,
        joined: asyncio.Event,
        holding: Holding,
        waits: Waits,
        refusing: Refusing,
        continuing: Continuing,
        reminding: Reminding,
        obstacles: Obstacles,
    ) -> None:
        self._journal = journal
        self._claims = claims
        self._flights = flights
        self._capabilities = capabilities
        self._me = agent_principal(agent_id)
        self._joined = joined
        self._holding = holding
        self._waits = waits
        self._refusing = refusing
        self._continuing = continuing
        self._reminding = reminding
        self._obstacles = obstacles
        self._queue = InboxQueue()
        self._handover = Handover(
            relay=relay,
            journal=journal,
            claims=claims,
            receipts=receipts,
            flights=flights,
            queue=self._queue,
            attachments=attachments,
            obstacles=obstacles,
        )
        self._leftovers = Leftovers(
            journal=journal,
            claims=claims,
            flights=flights,
            queue=self._queue,
            continuing=continuing,
            reminding=reminding,
        )
        self._candidate: Process | None = None
        """The process that is being attached: what was open before it is being judged."""
        self._process: Process | None = None
        self._process_id: str | None = None
        self._left = False
        """Another runner is to go on with the process."""
        self._at_rest = asyncio.Event()
        """Set while nothing is on its way in."""
        self._at_rest.set()
        self._changed = asyncio.Event()
        claims.on_lost = self._lost

    # --- what others tell it ------------------------------------------------------------------------------------------

    def offer(self, message: Message, delivery: Delivery) -> None:
        """Take note of a delivery, new or known; the same one may be offered any number of times."""
        if message.payload:  # of a relay without bounds it could be deeper than the journal can write
            message = replace(message, payload=pruned(message.payload))
        entry = Entry(message, delivery.attempt, not_before=delivery.not_before or 0.0)
        if delivery.state in TERMINAL or delivery.recipient not in (self._me, None):
            return
        row = self._journal.get(entry.key)
        if delivery.evidence == UNPROVEN:
            return  # it ended at `submitted`: nothing more is to come
        if row is None and delivery.state in IN_PROVIDER:
            if delivery.nonce is not None:
                self._leftovers.restore(message, delivery, delivery.nonce)
        elif row is None:
            entry.claimed = delivery.state is State.CLAIMED
            if self._queue.add(entry) and entry.claimed:  # by an earlier life of this runner
                self._claims.hold(message.id, delivery.attempt)
        elif row.stage is Stage.SETTLED and not self._journal.pending(message.id):
            self._flights.landing.say_again(row)
        self._changed.set()

    def offer_all(self, records: list[MessageRecord]) -> None:
        """Take note of a backlog."""
        for record in records:
            for delivery in record.deliveries:
                self.offer(record.message, delivery)

    async def attach(self, process: Process, process_id: str) -> None:
        """Deliver into this process from now on, after judging what was open before it was ours."""
        self._candidate = process
        await self._leftovers.judge(process, process_id)
        self._process, self._process_id, self._candidate = process, process_id, None
        self._changed.set()

    async def detach(self) -> None:
        """Stop delivering: the process ended. Its records tell what became of the flights."""
        process = self._process or self._candidate
        self._process = self._process_id = self._candidate = None
        self._obstacles.clear()
        if process is not None:
            for flight in self._flights.all():
                await self._leftovers.settle(flight, process)
        self._reminding.settle_all()

    def event(self, event: Event) -> None:
        """Take note of what the provider reports."""
        self._holding.event(event)
        match event:
            case Seen(nonce, evidence):
                self._flights.seen(nonce, evidence)
            case TurnStarted(nonces=nonces, source=source):
                for nonce in nonces:
                    self._flights.seen(nonce, source)
            case TurnEnded():
                self._flights.turn_ended(event)
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

    def go_on(self) -> str | None:
        """End the wait for a limit now, and try at once what is held; return what was waited for, or None."""
        held = self._holding.end() or self._obstacles.reason
        self._queue.hasten()
        self._continuing.hasten()
        self._changed.set()
        return held

    def give_up(self, reason: str) -> None:
        """End what waits for the end of a limit: the agent will not be back."""
        self._continuing.give_up(reason)

    async def leave(self) -> None:
        """Put nothing more in: the process goes on under another runner. Return when nothing is on its way in."""
        self._left = True
        self._changed.set()
        await self._at_rest.wait()

    async def hand_back(self) -> None:
        """Give back what the relay holds for us and of which nothing entered the provider."""
        await self._handover.give_back("the agent stopped")

    @property
    def _target(self) -> Process | None:
        """The process that messages go into; none any more where another runner goes on with it."""
        return None if self._left else self._process

    def _lost(self, message_id: int) -> None:
        self._handover.lose(message_id)
        self._flights.fence(message_id)
        self._continuing.fence(message_id)
        self._reminding.fence(message_id)
        self._changed.set()

    # --- the service --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver, for ever."""
        await self._joined.wait()
        while True:
            self._changed.clear()
            process = self._target
            if process is not None:
                await self._flights.check(process)
                self._look_at_state(process)
                await self._obstacles.tend(process)
            self._continuing.expire()
            self._reminding.expire()
            if (refused := await self._refusing.step(self._queue.waiting())) is not None:
                self._handover.drop(refused)
                continue
            waiting = self._queue.waiting()
            if await self._holding.tell(waiting, self._waits.busy(process)):
                continue
            entry = self._next()
            if entry is None or process is None or process is not self._target:
                await self._wait()
            else:
                self._at_rest.clear()
                await self._put_in(process, entry)
                self._at_rest.set()

    async def _put_in(self, process: Process, entry: Entry | CutOff | Owed) -> None:
        if isinstance(entry, Owed):
            await self._reminding.go(process, entry)
            await self._settle_late(process, entry.row.message)
        elif isinstance(entry, CutOff):
            await self._continuing.go_on(process, self._process_id, entry)
            await self._settle_late(process, entry.row.message)
        elif entry.message.timing is Timing.INTERRUPT and process.state is ProcessState.BUSY:
            await self._interrupt(process, entry)
        else:
            await self._deliver(process, entry)

    async def _deliver(self, process: Process, entry: Entry) -> None:
        put_back = await self._handover.deliver(process, self._process_id, entry)
        if put_back is not None:
            self.offer(*put_back)
        await self._settle_late(process, entry.message)

    async def _settle_late(self, process: Process, message: Message) -> None:
        """It died while the message was on its way in, perhaps after `detach` had settled everything else."""
        for flight in self._flights.all() if self._process is not process else ():
            if flight.message == message:
                await self._leftovers.settle(flight, process)

    def _next(self) -> Entry | CutOff | Owed | None:
        process = self._target
        if process is None or process.state not in (ProcessState.IDLE, ProcessState.BUSY):
            return None
        if self._holding.now() is not None:
            self._reminding.settle_all()
            return None
        busy = process.state is ProcessState.BUSY
        if not busy and not self._flights and (owed := self._reminding.next()) is not None:
            return owed
        if self._continuing:
            return None if busy or self._flights else self._continuing.next()
        return self._queue.next(
            time.time(),
            idle=not busy and not self._flights,
            can_steer=busy and self._capabilities.steer,
            can_interrupt=busy and self._capabilities.interrupt,
        )

    def _look_at_state(self, process: Process) -> None:
        """Take note of what waits because the program itself does: at a dialog, say."""
        if process.state not in (ProcessState.STARTING, ProcessState.WAITING):
            return
        for entry in self._queue.waiting()[:1]:
            self._obstacles.met(entry.message.id, f"the program is {process.state}")

    async def _wait(self) -> None:
        now = time.time()
        due = (
            self._flights.next_check(),
            self._queue.next_due(now),
            self._continuing.next_due(),
            self._holding.next_due(),
            self._waits.next_due() if len(self._queue) else None,
            self._reminding.next_due(),
            self._obstacles.next_due(),
        )
        times = [at for at in due if at is not None]
        try:
            async with asyncio.timeout(max(0.0, min(times) - now) if times and self._target else None):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _interrupt(self, process: Process, entry: Entry) -> None:
        """End the running turn for a message that must not wait; it goes in once the provider is idle."""
        entry.not_before = time.time() + RETRY_S
        try:
            await process.interrupt()
        except (ProviderError, TerminalError) as error:
            log.warning("message %d cannot interrupt: %s", entry.message.id, error)
        else:
            entry.not_before = 0.0 if process.state is ProcessState.IDLE else time.time() + 0.2
