"""Messages whose turn a limit of the model's side cut off: held, and continued when it is over.

A message that the model has seen is never submitted again: its delivery stays `seen`, held; when the limit is over, a
short continuation without its body goes in before anything else, by the same law as a message: journalled before each
step, announced to the relay, under a nonce of its own, and submitted again only where the provider's records prove that
it never entered. The end of that turn settles the message.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import msgspec

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
from relay_runner.protocol.envelope import render
from relay_runner.protocol.messages import Message, Outcome, State, Timing
from relay_runner.providers.base import (
    Held,
    Limit,
    Process,
    Submission,
    Submitted,
    TurnState,
    Uncertain,
)
from relay_runner.relay.base import Relay
from relay_runner.runner import backoff
from relay_runner.runner.claims import Claims
from relay_runner.runner.flight import find
from relay_runner.runner.flights import Flights
from relay_runner.runner.holding import Holding
from relay_runner.runner.journal import Journal, Row, Stage
from relay_runner.runner.obstacles import Obstacles
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.refusing import Refusing
from relay_runner.runner.submit import submit

log = logging.getLogger(__name__)

RETRY_S = 2.0
MAX_HELD_S = 5.0
"""What is held again and again is looked at less and less often, down to this."""
SOON_S = 0.2
MAX_REFUSALS = 5


@dataclass(slots=True)
class CutOff:
    """A message that waits to be continued."""

    row: Row
    not_before: float = 0.0
    refusals: int = 0


class Continuing:
    """Keep the hold and what was cut off; continue one message at a time."""

    def __init__(
        self,
        *,
        relay: Relay,
        journal: Journal,
        claims: Claims,
        receipts: Receipts,
        flights: Flights,
        holding: Holding,
        refusing: Refusing,
        obstacles: Obstacles,
    ) -> None:
        self._relay = relay
        self._journal = journal
        self._claims = claims
        self._receipts = receipts
        self._flights = flights
        self._holding = holding
        self._refusing = refusing
        self._obstacles = obstacles
        self._holds: dict[int, Held] = {}
        """What held the continuation of a message last, and for how long it waits because of that."""
        self._cut_off: dict[int, CutOff] = {}
        flights.landing.on_limit = self._limited

    def __len__(self) -> int:
        return len(self._cut_off)

    # --- what was cut off ---------------------------------------------------------------------------------------------

    def add(self, row: Row, *, wait_s: float = 0.0) -> None:
        """Continue a message as soon as nothing holds it; the claim on it is kept until then."""
        known = self._cut_off.get(row.message.id)
        refusals = known.refusals if known is not None else 0
        self._cut_off[row.message.id] = CutOff(row, time.time() + wait_s, refusals)
        self._claims.hold(row.message.id, row.attempt)

    def fence(self, message_id: int) -> None:
        """Forget a message whose claim is lost: somebody else has the say about it."""
        if (cut_off := self._cut_off.get(message_id)) is not None:
            self._settle(cut_off, State.UNKNOWN, reason="the claim on it was lost", post=False)

    def give_up(self, reason: str) -> None:
        """End everything that waits to be continued: the agent will not be back."""
        for cut_off in list(self._cut_off.values()):
            self._settle(cut_off, State.DONE, Outcome.INTERRUPTED, f"{reason}, while it waited for the end of a limit")

    def hasten(self) -> None:
        """Let everything be tried at once."""
        for cut_off in self._cut_off.values():
            cut_off.not_before = 0.0

    def next_due(self) -> float | None:
        """Return when there is something to do by the clock next."""
        now = time.time()
        ends = [cut_off.row.message.expires_at for cut_off in self._cut_off.values()]
        retries = [cut_off.not_before for cut_off in self._cut_off.values() if cut_off.not_before > now]
        return min([*ends, *retries], default=None)

    def expire(self) -> None:
        """End what could not be continued within the message's life."""
        for cut_off in list(self._cut_off.values()):
            if cut_off.row.message.expires_at <= time.time():
                self._settle(cut_off, State.DONE, Outcome.FAILED, "rate-limited until it expired")

    def next(self) -> CutOff | None:
        """Return the message to continue now, the oldest first."""
        now = time.time()
        due = [cut_off for cut_off in self._cut_off.values() if cut_off.not_before <= now]
        return min(due, key=lambda cut_off: cut_off.row.key, default=None)

    def _limited(self, row: Row, limit: Limit) -> None:
        """A limit cut off the turn that carried this: hold it, and tell the sender."""
        hold = self._holding.meet(limit)
        self.add(row)
        receipt = self._receipts.make(
            row.attempt, State.SEEN, row.nonce, evidence=row.evidence, reason=limit.reason, held=hold.text,
            usage=row.usage,
        )  # fmt: skip
        self._receipts.post(row.message.id, receipt)

    # --- the continuation ---------------------------------------------------------------------------------------------

    async def go_on(self, process: Process, process_id: str | None, cut_off: CutOff) -> None:
        """Put the continuation of one message in, at most once."""
        row = cut_off.row
        if self._journal.pending(row.message.id):
            cut_off.not_before = time.time() + SOON_S  # what is told of it must not be overtaken
            return
        if not await self._goes_on(process, cut_off):
            return
        try:
            nonce = self._journal.continuing(row.nonce, process_id, time.time())
            if (fresh := self._journal.by_nonce(nonce)) is not None:
                cut_off.row = fresh
            submission = Submission(words := continuation(row.message), nonce, render(words, nonce))
            held = await process.obstacle(submission)
            if held is None and row.message.id not in self._holds:
                await self._announce(cut_off)
        except (ClaimLost, RelayRefused) as error:
            if isinstance(error, RelayUnauthorized):
                cut_off.not_before = time.time() + backoff.LIMIT_S
            else:
                log.warning("message %d is not ours any more: %s", row.message.id, error)
                self.fence(row.message.id)
        except (RelayUnavailable, ProtocolError, ProviderError, TerminalError) as error:
            log.info("message %d cannot be continued yet: %s", row.message.id, error)
            cut_off.not_before = time.time() + RETRY_S
        else:
            if held is not None:
                cut_off.not_before = time.time() + await self._held(cut_off, held)
            else:
                await self._hand_over(process, cut_off, submission)

    async def _goes_on(self, process: Process, cut_off: CutOff) -> bool:
        """Say whether there is still something to continue, by the records and the budget; settle it where not."""
        row = cut_off.row
        evidence = await find(process, row.continues or row.nonce)
        if evidence is None:
            cut_off.not_before = time.time() + RETRY_S
            return False
        refused = self._refusing.why(row.message.sender)
        elsewhere = None not in (row.session, self._holding.session) and row.session != self._holding.session
        if elsewhere or not evidence.seen:
            reason = "rate-limited, and the session that had it is gone"
            self._settle(cut_off, State.DONE, Outcome.FAILED, reason)
        elif evidence.turn is TurnState.ENDED and evidence.outcome is Outcome.COMPLETED:
            found, carried = self._flights.landing.share(row.message, evidence)
            self._settle(cut_off, State.DONE, Outcome.COMPLETED, found.reason, result=found.result, carried=carried)
        elif evidence.turn is TurnState.RUNNING:
            self._drop(cut_off)
            self._flights.take_off(row.message, row.attempt, row.nonce, Stage.SEEN, check_in_s=SOON_S, continues=True)
        elif refused is not None:
            self._settle(cut_off, State.DONE, Outcome.FAILED, f"rate-limited, then {refused}")
        else:
            return True
        return False

    async def _announce(self, cut_off: CutOff) -> None:
        """Let the relay know under which nonce it goes on, before anything enters; raise where it does not."""
        row = cut_off.row
        receipt = self._receipts.make(row.attempt, State.SEEN, row.nonce, evidence=row.evidence)
        await self._relay.receipt(row.message.id, receipt)

    async def _hand_over(self, process: Process, cut_off: CutOff, submission: Submission) -> None:
        row = cut_off.row
        self._drop(cut_off)
        flight = self._flights.take_off(
            row.message, row.attempt, row.nonce, Stage.HANDING, check_in_s=backoff.LIMIT_S, continues=True
        )
        self._journal.advance(row.nonce, Stage.HANDING, time.time())
        try:
            result = await submit(self._journal, process, submission)
        except ProviderRefused as error:
            if not self._flights.proven(flight):
                self._flights.land(flight)
                self._refused(cut_off, str(error))
            return
        except (ProviderError, TerminalError) as error:
            log.warning("message %d: %s", row.message.id, error)
            flight.check_at = time.monotonic()
            return
        if not isinstance(result, Held):
            log.info("message %d is continued", row.message.id)
            self._passed(row.message.id)
        if flight.nonce not in self._flights:
            return  # the process ended meanwhile, and its records settled it
        match result:
            case Submitted(channel):
                self._flights.submitted(flight, channel)
            case Held() if not self._flights.proven(flight):
                self._flights.land(flight)
                self.back(flight.nonce, wait_s=await self._held(cut_off, result))
            case Uncertain(reason):
                log.warning("the continuation of message %d may have entered: %s", row.message.id, reason)
                flight.check_at = time.monotonic()

    async def _held(self, cut_off: CutOff, held: Held) -> float:
        """Take note of what holds a continuation; its sender is told once. Return how long to wait."""
        row = cut_off.row
        before = self._holds.get(row.message.id)
        again = before is not None and before.reason == held.reason
        retry_s = min(max(before.retry_s, held.retry_s) * 1.5, MAX_HELD_S) if before and again else held.retry_s
        self._holds[row.message.id] = Held(held.reason, retry_s)
        self._obstacles.met(row.message.id, held.reason)
        if not again:
            log.info("message %d cannot be continued yet: %s", row.message.id, held.reason)
            receipt = self._receipts.make(
                row.attempt, State.SEEN, row.nonce, evidence=row.evidence, held=held.reason, usage=row.usage
            )
            self._receipts.post(row.message.id, receipt)
        return retry_s

    def _passed(self, message_id: int) -> None:
        """Nothing holds a continuation any more."""
        self._holds.pop(message_id, None)
        self._obstacles.over(message_id)

    def back(self, nonce: str, *, wait_s: float = 0.0) -> None:
        """A continuation provably did not enter: it goes in later."""
        self._journal.advance(nonce, Stage.SUBMITTING, time.time())
        if (row := self._journal.by_nonce(nonce)) is not None:
            self.add(row, wait_s=wait_s)

    def _refused(self, cut_off: CutOff, reason: str) -> None:
        cut_off.refusals += 1
        log.warning("message %d cannot be continued (try %d): %s", cut_off.row.message.id, cut_off.refusals, reason)
        self._cut_off[cut_off.row.message.id] = cut_off
        if cut_off.refusals >= MAX_REFUSALS:
            self._settle(cut_off, State.DONE, Outcome.FAILED, f"rate-limited, and not continued: {reason}")
        else:
            self.back(cut_off.row.nonce, wait_s=backoff.of_attempt(cut_off.refusals))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _drop(self, cut_off: CutOff) -> None:
        self._cut_off.pop(cut_off.row.message.id, None)

    def _settle(
        self,
        cut_off: CutOff,
        state: State,
        outcome: Outcome | None = None,
        reason: str | None = None,
        *,
        result: str | None = None,
        carried: tuple[int, ...] = (),
        post: bool = True,
    ) -> None:
        row = cut_off.row
        log.info("message %d: %s (%s)", row.message.id, outcome or state, reason)
        receipt = self._receipts.make(
            row.attempt, state, row.nonce, outcome=outcome, result=result, reason=reason, carried=carried,
            usage=row.usage,
        )  # fmt: skip
        self._journal.settle(row.nonce, receipt, time.time(), post=post)
        self._drop(cut_off)
        self._passed(row.message.id)
        if not post:  # else the claim is kept until the relay knows
            self._claims.drop(row.message.id)
        self._receipts.wake()


def continuation(message: Message) -> Message:
    """Return what goes in instead of a message that the model has seen: a pointer to it, without its body."""
    words = (
        f"The limit that cut your work off is over. Continue with message {message.id} from {message.sender} where you "
        "left off; you have seen it above, it is not repeated here."
    )
    return msgspec.structs.replace(message, body=words, subject=None, attachments=(), timing=Timing.QUEUE)
