"""Messages over budget: refused at once, with the reason for their sender, before anything goes in."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from relay_runner.errors import ClaimLost, ProtocolError, RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.budgets import Budgets, day_of, total
from relay_runner.protocol.messages import Message, NewReply, State
from relay_runner.relay.base import Relay
from relay_runner.runner.claims import Claims
from relay_runner.runner.journal import Journal
from relay_runner.runner.queue import Entry
from relay_runner.runner.receipts import Receipts

log = logging.getLogger(__name__)

RETRY_S = 5.0
AGENT = agent_principal("")
TOLD_FACT = "refused:"
"""On which day a sender was told that its messages are refused."""


class Refusing:
    """Hold every message that waits against the budgets."""

    def __init__(
        self,
        *,
        relay: Relay,
        journal: Journal,
        claims: Claims,
        receipts: Receipts,
        budgets: Budgets,
        agent_id: str,
    ) -> None:
        self._relay = relay
        self._journal = journal
        self._claims = claims
        self._receipts = receipts
        self._budgets = budgets
        self._me = agent_principal(agent_id)
        self._retry_at = 0.0

    def why(self, sender: str) -> str | None:
        """Return why nothing of this sender goes in any more today, or None."""
        if not self._budgets.wanted():
            return None
        return self._budgets.refusal(sender, self._journal.spent(day_of(time.time())))

    def today(self) -> dict[str, object]:
        """Return what the agent spent today; empty while that is nothing."""
        day = day_of(time.time())
        spent = total(self._journal.spent(day).values())
        told = {"day": day, "turns": spent.turns, "tokens": spent.tokens, "costUsd": spent.cost_usd}
        return told if spent.turns else {}

    async def step(self, waiting: Iterable[Entry]) -> Entry | None:
        """Refuse one message that is over budget and return it: it is to be forgotten."""
        if not self._budgets.wanted() or time.time() < self._retry_at:
            return None
        spent = self._journal.spent(day_of(time.time()))
        for entry in waiting:
            reason = self._budgets.refusal(entry.message.sender, spent)
            if reason is not None:
                return entry if await self._refuse(entry, reason) else None
        return None

    async def _tell(self, message: Message, reason: str) -> None:
        """Let an agent find in its inbox that what it sent was refused: it waits for nothing, and polls nothing.

        Once a day for each sender: its answer to this would be refused, too, and they would never stop.
        """
        name, day = f"{TOLD_FACT}{message.sender}", day_of(time.time())
        if not message.sender.startswith(AGENT) or self._journal.fact(name) == day:
            return
        text = f"Message {message.id} was refused: {reason}. Do not resend it before then."
        key = f"refused:{message.id}:{message.created_at}"
        try:
            await self._relay.reply(message.id, NewReply(body=text, subject="refused", idempotency_key=key))
        except (RelayUnavailable, ProtocolError, RelayRefused, ClaimLost) as error:
            log.info("cannot tell %s that message %d was refused: %s", message.sender, message.id, error)
        else:
            self._journal.remember(name, day)

    async def _refuse(self, entry: Entry, reason: str) -> bool:
        """End a message; one that others may take is left to them. False: the relay could not be asked."""
        message = entry.message
        try:
            if message.claimable and not entry.claimed:
                if message.to != self._me:
                    return True
                claim = await self._relay.claim(message.id, self._claims.request(entry.attempt))
                if not claim.granted:
                    return True
            elif message.claimable and message.to != self._me:
                await self._relay.release(message.id, self._claims.release(entry.attempt, reason))
                return True
            row = self._journal.get(entry.key)
            receipt = self._receipts.make(entry.attempt, State.DEAD, row.nonce if row else "", reason=reason)
            await self._relay.receipt(message.id, receipt)
            await self._tell(message, reason)
        except (RelayUnavailable, RelayUnauthorized, ProtocolError) as error:
            log.info("message %d is over budget, and the relay does not know: %s", message.id, error)
            self._retry_at = time.time() + RETRY_S
            return False
        except (ClaimLost, RelayRefused) as error:
            log.info("message %d is not ours any more: %s", message.id, error)
        else:
            log.warning("message %d from %s is refused: %s", message.id, message.sender, reason)
        return True
