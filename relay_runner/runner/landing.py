"""How the end of a flight is told: by the last receipt, or by somebody who takes the message over for a while.

A turn that a limit cut off is continued when the limit is over, a completed one whose reply is owed is followed by a
reminder; every other end is a receipt in the outbox.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from relay_runner.protocol.budgets import Bill, day_of
from relay_runner.protocol.messages import UNPROVEN, Message, Outcome, Receipt, State
from relay_runner.protocol.usage import total
from relay_runner.providers.base import Capabilities, Evidence, Limit
from relay_runner.runner.flight import Flight, overdue_fact
from relay_runner.runner.journal import Journal, Row
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.sharing import share
from relay_runner.runner.work import Work

log = logging.getLogger(__name__)

NEWS_FACT = "news"
"""What the next sender is to be told beside how its turn ended."""


class Land(Protocol):
    """Stops watching a flight."""

    def __call__(self, flight: Flight, *, keep_claim: bool = False) -> None: ...


class Landing:
    """Report ends, each once."""

    def __init__(
        self,
        *,
        journal: Journal,
        receipts: Receipts,
        work: Work,
        capabilities: Capabilities,
        land: Land,
    ) -> None:
        self._journal = journal
        self._receipts = receipts
        self._work = work
        self._capabilities = capabilities
        self._land = land
        self.on_limit: Callable[[Row, Limit], None] = lambda row, limit: None
        """Takes over a message whose turn a limit cut off."""
        self.owes: Callable[[Message], bool] = lambda message: False
        """Says whether a message is to be put to the agent once more for the reply that it asks for."""
        self.on_owed: Callable[[Row], None] = lambda row: None
        self.reminded: Callable[[str], Row | None] = lambda nonce: None
        """Returns the message that the reminder with this nonce was about."""
        self.on_reminded: Callable[[Flight], None] = lambda flight: None
        """Takes a reminder that is over, however it ended."""

    def say_again(self, row: Row) -> None:
        """The relay does not know how this ended; the journal does."""
        state = State.DONE if row.outcome else State.SUBMITTED if row.evidence == UNPROVEN else State.UNKNOWN
        receipt = self._receipts.make(
            row.attempt, state, row.nonce, evidence=row.evidence, outcome=row.outcome, result=row.result,
            reason=row.reason, carried=row.carried, usage=row.usage,
        )  # fmt: skip
        self._receipts.post(row.message.id, receipt)

    def ended(self, flight: Flight, evidence: Evidence, *, turns: int = 1) -> None:
        """The turn that carried it is over: report how, or have it taken over."""
        now = time.time()
        bill = Bill(day_of(now), flight.message.sender, evidence.usage, turns)
        if flight.reminds:
            self._journal.charge(bill)
            self.reminder_over(flight)
            return
        evidence, carried = self.share(flight.message, evidence)
        last = self._last(flight, evidence, carried)
        if not self._taken_over(flight, evidence, last, bill, now):
            self._close(flight, last, bill)

    def share(self, message: Message, evidence: Evidence) -> tuple[Evidence, tuple[int, ...]]:
        """Return what the sender of a message gets of the end of its turn, and which messages were in that turn.

        What we did not put in was a person's. A reminder's text is for the sender whom it was about.
        """
        rows = [self._journal.carrying(nonce) or self.reminded(nonce) for nonce in evidence.carried]
        shared = share(message, [row.message for row in rows if row], by_hand=evidence.by_hand or None in rows)
        if shared.withheld is not None and evidence.result is not None:
            evidence = dataclasses.replace(evidence, result=None, reason=evidence.reason or shared.withheld)
        return evidence, shared.carried

    def _taken_over(self, flight: Flight, evidence: Evidence, last: Receipt, bill: Bill, now: float) -> bool:
        """Let a turn that a limit cut off be continued, and an owed reply be asked for; say whether either was so."""
        if not self._capabilities.evidence or flight.fenced:
            return False
        limit = evidence.limit if evidence.outcome is Outcome.FAILED else None
        if limit is not None:
            self._journal.limited(flight.nonce, self._work.session_id, bill, now)
        elif evidence.outcome is Outcome.COMPLETED and self.owes(flight.message):
            self._journal.owed(flight.nonce, last, bill, now)
        else:
            return False
        self._land(flight, keep_claim=True)
        row = self._journal.by_nonce(flight.nonce)
        if row is not None and limit is not None:
            self.on_limit(row, limit)
        elif row is not None:
            self.on_owed(row)
        return True

    def _last(self, flight: Flight, evidence: Evidence, carried: tuple[int, ...]) -> Receipt:
        row = self._journal.by_nonce(flight.nonce)
        usage = total(row.usage if row else None, evidence.usage)
        state, proof, outcome, reason = State.DONE, None, evidence.outcome, evidence.reason
        if not self._capabilities.evidence:
            state, proof, outcome, reason = State.SUBMITTED, UNPROVEN, None, None
        elif outcome is not Outcome.COMPLETED and (late := self._journal.fact(overdue_fact(flight.nonce))) is not None:
            outcome, reason = Outcome.FAILED, late
        return self._receipts.make(
            flight.attempt, state, flight.nonce,
            evidence=proof, outcome=outcome, result=evidence.result, reason=reason, carried=carried, usage=usage,
        )  # fmt: skip

    def reminder_over(self, flight: Flight) -> None:
        """A reminder is over, however it ended: what it reminded of is settled now."""
        self._journal.remember(overdue_fact(flight.nonce), None)
        self._land(flight, keep_claim=True)
        self.on_reminded(flight)

    def unknown(self, flight: Flight, reason: str) -> None:
        """Nobody can know what became of it."""
        if flight.reminds:
            self.reminder_over(flight)
            return
        log.warning("message %d: nobody can know whether it entered: %s", flight.message.id, reason)
        self._close(flight, self._receipts.make(flight.attempt, State.UNKNOWN, flight.nonce, reason=reason))

    def _close(self, flight: Flight, receipt: Receipt, bill: Bill | None = None) -> None:
        now = time.time()
        if (news := self._journal.fact(NEWS_FACT)) is not None:
            receipt = replace(receipt, reason="; ".join(filter(None, (receipt.reason, news))))
        said = f"{receipt.state} ({receipt.outcome})" if receipt.outcome else str(receipt.state)
        message, took_s = flight.message, now - flight.begun_at
        log.info("message %d from %s: %s, %.1f s", message.id, message.sender, said, took_s)
        self._journal.settle(flight.nonce, receipt, now, post=not flight.fenced, bill=bill)
        self._journal.remember(overdue_fact(flight.nonce), None)
        if news is not None:
            self._journal.remember(NEWS_FACT, None)
        self._land(flight, keep_claim=not flight.fenced)
        self._receipts.wake()
