"""The hold on the queue while the model's side takes no work: kept over restarts, and shown to everybody it concerns.

`limits` says how long. Here it is saved, published as the agent's status, and told to the senders of what waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from itertools import islice

from relay_runner.errors import ClaimLost, ProtocolError, RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.messages import Outcome, State
from relay_runner.protocol.wire import decode, encode
from relay_runner.providers.base import Event, Limit, Limited, TurnEnded
from relay_runner.relay.base import Relay
from relay_runner.runner.claims import Claims
from relay_runner.runner.journal import Journal
from relay_runner.runner.limits import HELD, LEAST_S, Hold, Limits
from relay_runner.runner.queue import Entry
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.waits import BUSY
from relay_runner.runner.work import Work

log = logging.getLogger(__name__)

FACT = "limit"
RETRY_S = 5.0
MOST_TOLD = 10
"""How many of those who wait are told with what the agent is busy."""


class Holding:
    """Keep one agent's hold, and say it."""

    def __init__(
        self,
        *,
        relay: Relay,
        journal: Journal,
        claims: Claims,
        receipts: Receipts,
        work: Work,
        publish: Callable[[], None],
        least_s: float = LEAST_S,
    ) -> None:
        self._relay = relay
        self._journal = journal
        self._claims = claims
        self._receipts = receipts
        self._work = work
        self._publish = publish
        self._least_s = least_s
        self._limits: Limits | None = None
        self._tell_at = 0.0

    def now(self) -> Hold | None:
        """Return what holds everything back now; the agent's status says the same from then on."""
        hold = self._schedule.hold(time.time())
        text = hold.text if hold is not None else None
        if text != self._work.limit:
            self._work.limit = text
            self._publish()
        return hold

    def event(self, event: Event) -> None:
        """Take note of a limit, or of the proof that it is over."""
        match event:
            case Limited(None) | TurnEnded(Outcome.COMPLETED, limit=None):
                if self._schedule.works():
                    log.info("the model takes work again")
                    self._save()
            case Limited(Limit() as limit) | TurnEnded(limit=Limit() as limit):
                self.meet(limit)

    def meet(self, limit: Limit) -> Hold:
        """Hold everything back for this limit."""
        before = self._schedule.last
        hold = self._schedule.met(limit, time.time())
        if hold != before:
            log.warning("%s: %s", hold.text, limit.reason)
            self._save()
        return hold

    @property
    def session(self) -> str | None:
        """The session that the provider is in."""
        return self._work.session_id

    def end(self) -> str | None:
        """Let everything go in now, because somebody says so; return what held it, or None where nothing did."""
        hold = self.now()
        if hold is None:
            return None
        log.info("told to try again at once")
        self._schedule.works()
        self._save()
        return hold.text

    def next_due(self) -> float | None:
        """Return when the hold ends."""
        hold = self._schedule.hold(time.time())
        return hold.until if hold is not None else None

    async def tell(self, waiting: Iterable[Entry], busy: str | None = None) -> bool:
        """Tell the sender of one waiting message why it waits, or that it does no more; False: everybody knows.

        `busy` is what the agent is at where that takes long; the end of it is told by the message's going in.
        """
        hold, now = self.now(), time.time()
        text = hold.text if hold is not None else busy
        if hold is None and busy is not None:
            waiting = islice(waiting, MOST_TOLD)
        entry = next((entry for entry in waiting if _is_news(entry, text)), None)
        if entry is None or now < self._tell_at:
            return False
        row = self._journal.get(entry.key)
        receipt = self._receipts.make(entry.attempt, State.QUEUED, row.nonce if row else "", held=text)
        try:
            await self._relay.receipt(entry.message.id, receipt)
        except (RelayUnavailable, RelayUnauthorized, ProtocolError) as error:
            log.info("the relay does not know that messages are held: %s", error)
            self._tell_at = now + RETRY_S
            return False
        except (ClaimLost, RelayRefused) as error:
            log.info("message %d is not told that it is held: %s", entry.message.id, error)
        entry.held = text
        self._claims.drop(entry.message.id)  # it is queued, without a lease
        if entry.message.claimable:  # anybody's again: it is claimed anew afterwards
            entry.claimed = False
        return True

    @property
    def _schedule(self) -> Limits:
        """The schedule, as the last runner left it: the journal is open only once this one runs."""
        if self._limits is None:
            saved = self._journal.fact(FACT)
            self._limits = Limits(self._least_s, decode(saved, Hold) if saved else None)
        return self._limits

    def _save(self) -> None:
        last = self._schedule.last
        self._journal.remember(FACT, encode(last).decode() if last is not None else None)
        self.now()


def _is_news(entry: Entry, text: str | None) -> bool:
    if entry.message.claimable and not entry.claimed:
        return False  # it is not ours yet, and others may take it
    told = entry.held if entry.held is not None and entry.held.startswith((HELD, BUSY)) else None
    if text is None and told is not None and told.startswith(BUSY):
        return False
    if entry.held and told is None and text is not None and text.startswith(BUSY):
        return False  # something nearer holds it up: a typed line, say
    return told != text
