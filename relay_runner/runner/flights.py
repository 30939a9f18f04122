"""Messages that are, or may be, in the provider: only the provider's evidence moves them on.

A flight takes off when the journal says `handing` and lands with a receipt. Between the two it listens to `Seen` and
`TurnEnded`; where they do not come, the provider's records are asked (`Process.find`), and where an idle provider has
no trace of it after the evidence time, nobody can know: `unknown`, never a second submission on a guess.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from relay_runner.protocol.agents import WorkKind
from relay_runner.protocol.budgets import BY_HAND, Bill, day_of
from relay_runner.protocol.messages import Message, State
from relay_runner.protocol.tasks import carried
from relay_runner.providers.base import (
    Capabilities,
    Evidence,
    Process,
    ProcessState,
    TurnEnded,
    TurnState,
)
from relay_runner.runner.claims import Claims
from relay_runner.runner.flight import Flight, find, interrupted
from relay_runner.runner.journal import Journal, Stage
from relay_runner.runner.landing import NEWS_FACT, Landing
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.work import Work

log = logging.getLogger(__name__)

EVIDENCE_S = 30.0
"""How long the provider's evidence may take before its records are asked."""
SETTLE_S = 2.0
"""How long an idle provider may leave a seen message without its turn's end before its records are asked."""


class Flights:
    """Keep what is in the provider, from the hand-over to the last receipt."""

    def __init__(
        self,
        *,
        journal: Journal,
        claims: Claims,
        receipts: Receipts,
        work: Work,
        capabilities: Capabilities,
        publish: Callable[[], None],
        evidence_s: float = EVIDENCE_S,
    ) -> None:
        self._journal = journal
        self._claims = claims
        self._receipts = receipts
        self._work = work
        self._capabilities = capabilities
        self._publish = publish
        self._evidence_s = evidence_s
        self._flights: dict[str, Flight] = {}
        self.on_seen: Callable[[], None] = lambda: None
        self.landing = Landing(
            journal=journal, receipts=receipts, work=work, capabilities=capabilities, land=self.land,
        )  # fmt: skip
        receipts.on_told = claims.drop

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, nonce: str) -> bool:
        return nonce in self._flights

    def all(self) -> list[Flight]:
        """Return every flight, in the order of their take-off."""
        return list(self._flights.values())

    def proven(self, flight: Flight) -> bool:
        """Say whether evidence was faster than the channel's answer: then that answer counts for nothing."""
        return flight.stage is Stage.SEEN or flight.nonce not in self._flights

    def next_check(self) -> float | None:
        """Return when the provider's records must be asked next, by the wall clock as it stands."""
        due = min((flight.check_at for flight in self._flights.values()), default=None)
        return None if due is None else time.time() + due - time.monotonic()

    # --- take-off and landing -----------------------------------------------------------------------------------------

    def take_off(
        self,
        message: Message,
        attempt: int,
        nonce: str,
        stage: Stage,
        *,
        check_in_s: float,
        continues: bool = False,
        reminds: str | None = None,
    ) -> Flight:
        """Watch a message from now on; its records are asked after `check_in_s`."""
        now, steady = time.time(), time.monotonic()
        check_at, give_up_at = steady + check_in_s, steady + self._evidence_s
        flight = Flight(
            message, attempt, nonce, stage, check_at, give_up_at, begun_at=now, continues=continues, reminds=reminds
        )
        if stage is Stage.SEEN:
            self._is_seen(flight)
        self._flights[nonce] = flight
        self._claims.hold(message.id, attempt)
        label = f"message {message.id} from {message.sender}"
        self._work.start(WorkKind.MESSAGE, str(message.id), now=now, source="runner", label=label)
        if (task_id := carried(message.payload)) is not None:
            task, carrier = str(task_id), str(message.id)
            self._work.start(WorkKind.TASK, task, now=now, source="runner", label=task, parent_id=carrier)
        self._publish()
        return flight

    def land(self, flight: Flight, *, keep_claim: bool = False) -> None:
        """Stop watching; nothing is reported. The claim is kept while the relay does not know how it ended."""
        self._flights.pop(flight.nonce, None)
        if not keep_claim:
            self._claims.drop(flight.message.id)
        self._work.finish(WorkKind.MESSAGE, str(flight.message.id))
        if (task_id := carried(flight.message.payload)) is not None:
            self._work.finish(WorkKind.TASK, str(task_id))
        self._publish()

    def submitted(self, flight: Flight, channel: str) -> None:
        """The channel took it; without evidence nothing more than this can ever be said."""
        now = time.time()
        flight.check_at = flight.give_up_at = time.monotonic() + self._evidence_s
        if flight.stage is not Stage.HANDING:
            return  # the evidence was faster than the channel's answer
        flight.stage = Stage.SUBMITTED
        if not self._capabilities.evidence:
            self._is_seen(flight)  # nothing better will ever be known of when its turn began
        self._journal.advance(flight.nonce, Stage.SUBMITTED, now, channel=channel)
        if not flight.continues:
            self._report(flight, State.SUBMITTED)

    def fence(self, message_id: int) -> None:
        """Report nothing more about a message: its claim is lost."""
        for flight in self._flights.values():
            if flight.message.id == message_id:
                flight.fenced = True

    # --- evidence -----------------------------------------------------------------------------------------------------

    def seen(self, nonce: str, evidence: str) -> None:
        """The model has it; a provider that can prove nothing is not believed."""
        if not self._capabilities.evidence:
            return
        flight = self._flights.get(nonce) or self._late(nonce)
        if flight is None or flight.stage is Stage.SEEN:
            return
        now = time.time()
        flight.stage = Stage.SEEN
        self._is_seen(flight)
        flight.check_at = flight.give_up_at = time.monotonic() + self._evidence_s
        self._journal.advance(nonce, Stage.SEEN, now, evidence=evidence)
        self._report(flight, State.SEEN, evidence=evidence)

    def _is_seen(self, flight: Flight) -> None:
        flight.seen_at = time.monotonic()
        self.on_seen()

    def turn_ended(self, turn: TurnEnded) -> None:
        """A turn ended, with everything that it carried; the first message pays for it."""
        usage, turns = turn.usage, 1
        if not turn.nonces:
            self._journal.charge(Bill(day_of(time.time()), BY_HAND, usage))
        for nonce in turn.nonces:
            self.seen(nonce, turn.source)
            flight = self._flights.get(nonce)
            if flight is None:
                continue
            evidence = Evidence(
                True, None, TurnState.ENDED, turn.outcome, turn.result, turn.reason, turn.limit, usage,
                carried=turn.carried or turn.nonces, by_hand=turn.by_hand,
            )  # fmt: skip
            self.landing.ended(flight, evidence, turns=turns)
            usage, turns = None, 0

    def session_lost(self, session_id: str) -> None:
        """Tell the next sender that the model knows nothing any more of what was said before."""
        news = f"session {session_id} was lost: this went into a new one, which knows nothing of what was said before"
        self._journal.remember(NEWS_FACT, news)

    def provider_idle(self) -> None:
        """The provider is idle: what it carried should have ended by now, so look soon.

        How long it may be idle without any trace of a message counts from here, and not from what was known before.
        """
        now = time.monotonic()
        soon = now + SETTLE_S
        for flight in self._flights.values():
            flight.give_up_at = max(flight.give_up_at, now + self._evidence_s)
            if flight.stage is Stage.SEEN:
                flight.check_at = min(flight.check_at, soon)

    async def check(self, process: Process) -> None:
        """Ask the provider's records about every flight that is due."""
        for flight in self.all():
            if flight.check_at <= time.monotonic():
                evidence = await find(process, flight.nonce)
                if evidence is None:
                    flight.check_at = time.monotonic() + SETTLE_S
                elif flight.nonce in self._flights:
                    self._judge(flight, evidence, process.state)

    async def settle_dead(self, flight: Flight, process: Process) -> bool:
        """Settle a flight whose provider process is gone for good; False: it provably never entered.

        The records decide over what the program told while it lived: a hook tells `seen` before anything is written.
        """
        evidence = await find(process, flight.nonce)
        if flight.nonce not in self._flights:
            return True  # its end was told meanwhile
        if evidence is None:
            self.landing.unknown(flight, "the provider ended, and its records cannot be read")
        elif evidence.seen:
            self.seen(flight.nonce, evidence.source or "records")
            if evidence.turn is not TurnState.ENDED or evidence.outcome is None:
                evidence = interrupted("the provider ended during the turn")
            self.landing.ended(flight, evidence)
        elif flight.reminds:
            self.landing.reminder_over(flight)
        elif evidence.unsure or (flight.stage is Stage.SEEN and not evidence.absent):
            self.landing.unknown(
                flight, evidence.reason or "the provider ended, and its records do not hold the message"
            )
        elif self._capabilities.evidence:
            self.land(flight)  # the conversation ends with its records, and it is not in them
            return False
        elif flight.stage is Stage.SUBMITTED:
            self.landing.ended(flight, evidence)
        else:
            self.landing.unknown(flight, "the provider ended while it was being put in")
        return True

    def _judge(self, flight: Flight, evidence: Evidence, state: ProcessState) -> None:
        now = time.monotonic()
        if evidence.seen:
            self.seen(flight.nonce, evidence.source or "records")
        if evidence.seen and evidence.turn is TurnState.ENDED and evidence.outcome is not None:
            self.landing.ended(flight, evidence)
        elif state is not ProcessState.IDLE:
            # It may be in the running turn, or wait behind it.
            flight.check_at = flight.give_up_at = now + self._evidence_s
        elif now < flight.give_up_at:
            flight.check_at = now + SETTLE_S
        elif flight.stage is Stage.SEEN:
            self.landing.ended(flight, interrupted("the turn ended without leaving a result"))
        elif flight.stage is Stage.SUBMITTED and not self._capabilities.evidence:
            self.landing.ended(flight, evidence)
        else:
            self.landing.unknown(flight, f"no evidence of it within {self._evidence_s:.0f} s")

    def _late(self, nonce: str) -> Flight | None:
        """Return a flight again that was given up as unknown: the truth wins over a guess."""
        row = self._journal.by_nonce(nonce)
        if row is None or row.stage is not Stage.SETTLED or row.outcome is not None:
            return None
        log.info("late evidence for message %d", row.message.id)
        continues = row.continues is not None
        return self.take_off(
            row.message, row.attempt, nonce, Stage.SUBMITTED, check_in_s=self._evidence_s, continues=continues
        )

    def _report(self, flight: Flight, state: State, *, evidence: str | None = None) -> None:
        if not flight.fenced and not flight.reminds:
            receipt = self._receipts.make(flight.attempt, state, flight.nonce, evidence=evidence)
            self._receipts.post(flight.message.id, receipt)
