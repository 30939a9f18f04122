"""Replies that are owed: a message that asks for one and has none when its turn completed is put to the agent once.

Once is by message and by the journal: never in a loop, also across restarts. A provider that can add to a turn which is
about to end asks `owed` itself (Claude Code's Stop hook), and that turn ends a little later. For any other the message
is kept `owed` for a moment: a short reminder without its body goes in under a nonce of its own, and the end of that
turn, however it ends, settles the message as its own turn ended. A reminder is no second delivery: nothing about it is
reported, and where it cannot be put in, the message is settled without.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from relay_runner.errors import (
    ClaimLost,
    ProtocolError,
    ProviderError,
    RelayRefused,
    RelayUnauthorized,
    RelayUnavailable,
    TerminalError,
)
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.envelope import NONCE_BYTES, render
from relay_runner.protocol.messages import Message, MessageQuery, Outcome, State, Timing
from relay_runner.protocol.wire import Wire, decode, encode
from relay_runner.providers.base import Held, Process, Submission, Submitted, Uncertain
from relay_runner.relay.base import Relay
from relay_runner.runner import backoff
from relay_runner.runner.flight import Flight
from relay_runner.runner.flights import Flights
from relay_runner.runner.journal import Journal, Row, Stage
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.submit import submit

log = logging.getLogger(__name__)

FACT = "reminder:"
ANSWER_S = 3.0
"""How long a provider that asks at the end of a turn is kept waiting."""
RETRY_S = 2.0
GIVE_UP_S = 60.0
"""How long a reminder may wait (a person types or has a turn, the relay is away) before the message is settled."""


class Reminded(Wire, frozen=True, kw_only=True):
    """What the journal knows of one message's reply."""

    at: float
    nonce: str | None = None
    """Under which the reminder went in; None: it was part of the turn itself, or the reply was there already."""
    about: str | None = None
    """The nonce of the message that it reminded of."""


@dataclass(slots=True)
class Owed:
    """A message that waits for its reminder."""

    row: Row
    give_up_at: float
    not_before: float = 0.0


class Reminding:
    """Ask who owes what, remind once, and settle."""

    def __init__(self, *, relay: Relay, journal: Journal, receipts: Receipts, flights: Flights, agent_id: str) -> None:
        self._relay = relay
        self._journal = journal
        self._receipts = receipts
        self._flights = flights
        self._me = agent_principal(agent_id)
        self._waiting: dict[str, Owed] = {}
        flights.landing.owes = self.owes
        flights.landing.on_owed = self.add
        flights.landing.on_reminded = self._reminded
        flights.landing.reminded = self._about

    # --- within the turn ----------------------------------------------------------------------------------------------

    async def owed(self, nonces: Sequence[str]) -> str | None:
        """Return what to put to the model before the turn with these messages ends, None where nothing is owed."""
        rows = [row for nonce in nonces if (row := self._journal.by_nonce(nonce)) and self.owes(row.message)]
        found: list[Message] = []
        try:
            async with asyncio.timeout(ANSWER_S):
                for row in rows:
                    if not await self._answered(row.message):
                        found.append(row.message)
        except (TimeoutError, RelayUnavailable, RelayRefused, ProtocolError, ClaimLost) as error:
            log.info("what is owed cannot be asked now: %s", error or "no answer in time")
            return None
        for row in rows:
            self._note(row, None)
        return "\n".join(words(message) for message in found) or None

    # --- after the turn -----------------------------------------------------------------------------------------------

    def __contains__(self, nonce: str) -> bool:
        return nonce in self._waiting

    def owes(self, message: Message) -> bool:
        """Say whether a message asks for a reply of which the journal knows nothing."""
        return message.reply_required and self._journal.fact(_name(message)) is None

    def add(self, row: Row) -> None:
        """Take a message whose turn completed without settling it."""
        self._waiting[row.nonce] = Owed(row, time.time() + GIVE_UP_S)

    def resume(self, row: Row, process_id: str) -> None:
        """Take what an earlier runner left: remind, await the end of its reminder, or settle."""
        noted = self._journal.fact(_name(row.message))
        nonce = decode(noted, Reminded).nonce if noted is not None else None
        if row.process != process_id or (noted is not None and nonce is None):
            self.settle(row)
        elif nonce is None:
            self.add(row)
        else:
            self._take_off(row, nonce, Stage.SUBMITTED, check_in_s=0.0)

    def next(self) -> Owed | None:
        """Return the message to remind of now, the oldest first."""
        due = [owed for owed in self._waiting.values() if owed.not_before <= time.time()]
        return min(due, key=lambda owed: owed.row.key, default=None)

    def next_due(self) -> float | None:
        """Return when one that must wait becomes due, or is given up; those that are due wait for an idle provider."""
        now, waiting = time.time(), self._waiting.values()
        due = [owed.not_before for owed in waiting if owed.not_before > now]
        return min([*due, *(owed.give_up_at for owed in waiting)], default=None)

    def expire(self) -> None:
        """Settle what could not be reminded of soon: its turn is over, and its sender waits."""
        for owed in list(self._waiting.values()):
            if owed.give_up_at <= time.time():
                log.info("message %d has no reply, and no reminder could go in", owed.row.message.id)
                self.settle(owed.row)

    async def go(self, process: Process, owed: Owed) -> None:
        """Remind of one message, unless its reply is there by now."""
        row = owed.row
        try:
            if await self._answered(row.message):
                self.settle(row)
                return
            nonce = secrets.token_urlsafe(NONCE_BYTES)
            reminder = replace(row.message, body=words(row.message), subject=None, attachments=(), timing=Timing.QUEUE)
            submission = Submission(reminder, nonce, render(reminder, nonce))
            held = await process.obstacle(submission)
        except (RelayUnavailable, RelayUnauthorized, ProtocolError, ProviderError, TerminalError) as error:
            log.info("message %d has no reply, and its reminder waits: %s", row.message.id, error)
            owed.not_before = time.time() + RETRY_S
        except (RelayRefused, ClaimLost):
            self.settle(row)
        else:
            if held is not None:
                owed.not_before = time.time() + held.retry_s
            else:
                await self._hand_over(process, owed, submission)

    async def _hand_over(self, process: Process, owed: Owed, submission: Submission) -> None:
        row = owed.row
        self._note(row, submission.nonce)
        self._waiting.pop(row.nonce, None)
        flight = self._take_off(row, submission.nonce, Stage.HANDING, check_in_s=backoff.LIMIT_S)
        log.info("message %d from %s has no reply: the agent is reminded", row.message.id, row.message.sender)
        try:
            result = await submit(self._journal, process, submission)
        except (ProviderError, TerminalError) as error:
            log.warning("the reminder of message %d: %s", row.message.id, error)
            result = Held(str(error))
            owed.give_up_at = 0.0
        if flight.nonce not in self._flights:
            return  # the process ended meanwhile, and the message is settled
        match result:
            case Submitted(channel):
                self._flights.submitted(flight, channel)
            case Held(retry_s=retry_s) if not self._flights.proven(flight):
                self._flights.land(flight, keep_claim=True)
                self._journal.remember(_name(row.message), None)
                self._waiting[row.nonce] = owed
                owed.not_before = time.time() + retry_s if owed.give_up_at else 0.0
            case Uncertain(reason):
                log.warning("the reminder of message %d may have entered: %s", row.message.id, reason)
                flight.check_at = time.monotonic()

    def _take_off(self, row: Row, nonce: str, stage: Stage, *, check_in_s: float) -> Flight:
        return self._flights.take_off(row.message, row.attempt, nonce, stage, check_in_s=check_in_s, reminds=row.nonce)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _reminded(self, flight: Flight) -> None:
        row = self._journal.by_nonce(flight.reminds or "")
        if row is not None and row.stage is Stage.OWED:
            self.settle(row, post=not flight.fenced)

    def settle_all(self) -> None:
        """Settle everything that waits, without a reminder: nobody can be reminded now."""
        for owed in list(self._waiting.values()):
            self.settle(owed.row)

    def fence(self, message_id: int) -> None:
        """Forget a message whose claim is lost: somebody else has the say about it."""
        for owed in list(self._waiting.values()):
            if owed.row.message.id == message_id:
                self.settle(owed.row, post=False)

    def settle(self, row: Row, *, post: bool = True) -> None:
        """Report a message as its own turn ended."""
        self._waiting.pop(row.nonce, None)
        receipt = self._receipts.make(
            row.attempt, State.DONE, row.nonce, outcome=row.outcome or Outcome.COMPLETED, result=row.result,
            reason=row.reason, carried=row.carried, usage=row.usage,
        )  # fmt: skip
        log.info("message %d from %s: done (%s)", row.message.id, row.message.sender, receipt.outcome)
        self._journal.settle(row.nonce, receipt, time.time(), post=post)
        self._receipts.wake()

    async def _answered(self, message: Message) -> bool:
        query = MessageQuery(sender=self._me, reply_to=message.id, limit=1)
        return bool(await self._relay.messages(query))

    def _about(self, nonce: str) -> Row | None:
        noted = (decode(value, Reminded) for value in self._journal.facts(FACT).values())
        about = next((one.about for one in noted if one.nonce == nonce), None)
        return self._journal.by_nonce(about) if about is not None else None

    def _note(self, row: Row, nonce: str | None) -> None:
        noted = Reminded(at=time.time(), nonce=nonce, about=row.nonce)
        self._journal.remember(_name(row.message), encode(noted).decode())


def words(message: Message) -> str:
    """Return what reminds of a message: which one it is, and how it is answered."""
    return (
        f"Message {message.id} from {message.sender} still wants a reply. Answer it now "
        f"(`relay-runner reply {message.id} TEXT`), also if the answer is that you cannot; this is asked once."
    )


def _name(message: Message) -> str:
    return f"{FACT}{message.id}:{message.created_at}"
