"""Receipts on their way to the relay: sent in order, kept in the journal until the relay has them.

A receipt is stamped with the instance that sends it: what a dead predecessor left in the outbox goes out under our
name, because the relay passed its deliveries on to us at the hello. So nothing is sent before the first welcome.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from relay_runner.errors import ClaimLost, ProtocolError, RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.messages import TERMINAL, UNPROVEN, Outcome, Receipt, State
from relay_runner.protocol.usage import Usage
from relay_runner.relay.base import Relay
from relay_runner.runner import backoff
from relay_runner.runner.journal import Journal, Posted

log = logging.getLogger(__name__)


class Receipts:
    """Push the journal's outbox to the relay."""

    def __init__(self, relay: Relay, journal: Journal, agent_id: str, instance_id: str, joined: asyncio.Event) -> None:
        self._relay = relay
        self._journal = journal
        self._agent_id = agent_id
        self._instance_id = instance_id
        self._joined = joined
        self._posted = asyncio.Event()
        self._empty = asyncio.Event()
        self.on_told: Callable[[int, int], None] = lambda message_id, attempt: None
        """Called with a message and its attempt when the relay knows how it ended."""

    def make(
        self,
        attempt: int,
        state: State,
        nonce: str,
        *,
        evidence: str | None = None,
        outcome: Outcome | None = None,
        result: str | None = None,
        reason: str | None = None,
        carried: tuple[int, ...] = (),
        held: str | None = None,
        usage: Usage | None = None,
    ) -> Receipt:
        """Return a receipt in this instance's name."""
        return Receipt(
            agent_id=self._agent_id,
            instance_id=self._instance_id,
            attempt=attempt,
            state=state,
            nonce=nonce,
            evidence=evidence,
            outcome=outcome,
            result=result,
            reason=reason,
            carried=carried,
            held=held,
            usage=usage,
        )

    def post(self, message_id: int, receipt: Receipt) -> None:
        """Send a receipt as soon as the relay can be asked."""
        self._journal.post(message_id, receipt)
        self.wake()

    def wake(self) -> None:
        """Look into the outbox again: somebody else put a receipt there."""
        self._empty.clear()
        self._posted.set()

    async def flushed(self, timeout_s: float) -> bool:
        """Wait until the relay has everything; False when it did not take it in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Send what is posted, for ever."""
        await self._joined.wait()
        delays = backoff.delays(0.2, 10.0)
        while True:
            self._posted.clear()
            outbox = self._journal.outbox()
            if not outbox:
                self._empty.set()
                await self._posted.wait()
                continue
            try:
                for posted in outbox:
                    await self._send(posted)
                delays = backoff.delays(0.2, 10.0)
            except (RelayUnavailable, RelayUnauthorized, ProtocolError) as error:
                log.info("receipts wait for the relay: %s", error)
                await asyncio.sleep(next(delays))

    async def _send(self, posted: Posted) -> None:
        receipt = msgspec.structs.replace(posted.receipt, instance_id=self._instance_id)
        try:
            await self._relay.receipt(posted.message_id, receipt)
            if receipt.state is State.SEEN or receipt.evidence == UNPROVEN:
                await self._relay.read(posted.message_id)
        except RelayUnauthorized:
            raise
        except (ClaimLost, RelayRefused) as error:
            # Somebody redelivered or dropped it meanwhile: what we know is of no use to anyone any more.
            log.warning("the relay refuses the receipt %s of message %d: %s", receipt.state, posted.message_id, error)
        self._journal.sent(posted.seq)
        if receipt.state in TERMINAL or receipt.evidence == UNPROVEN:
            self.on_told(posted.message_id, receipt.attempt)
