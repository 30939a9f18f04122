"""The claims that this runner holds: renewed at a third of the lease, given up the moment a renewal is refused.

Renewals go by a steady clock, which nobody can set; a wall clock that jumped ahead of it says that we slept, and then
everything is renewed at once: the relay, which did not sleep, may count the seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from relay_runner.errors import ClaimLost, ProtocolError, RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.messages import LEASE_S, ClaimRequest, Release, State
from relay_runner.relay.base import Relay

log = logging.getLogger(__name__)

RENEW_AT = 1 / 3
RETRY_S = 5.0
MAX_SLEEP_S = 30.0
"""A sleep is never longer than this, so that a jump of the wall clock is noticed."""
JUMP_S = 1.0


@dataclass(slots=True)
class Claim:
    """The right to handle one message."""

    message_id: int
    attempt: int
    renew_at: float


@dataclass(slots=True)
class ClaimTable:
    """Which claims are held and which renewal comes next: a pure object, whose `now` is a steady clock's."""

    lease_s: float = LEASE_S
    _claims: dict[int, Claim] = field(default_factory=dict)

    def hold(self, message_id: int, attempt: int, now: float) -> None:
        """Note that a claim was granted or renewed just now."""
        self._claims[message_id] = Claim(message_id, attempt, now + self.lease_s * RENEW_AT)

    def drop(self, message_id: int, attempt: int | None = None) -> None:
        """Forget a claim: settled, released or lost; with an attempt only if it is of that one."""
        if attempt is None or (claim := self._claims.get(message_id)) is None or claim.attempt == attempt:
            self._claims.pop(message_id, None)

    def postpone(self, message_id: int, until: float) -> None:
        """Try the renewal again at `until`."""
        if claim := self._claims.get(message_id):
            claim.renew_at = until

    def renew_all(self, now: float) -> None:
        """Renew everything now."""
        for claim in self._claims.values():
            claim.renew_at = min(claim.renew_at, now)

    def has(self, claim: Claim) -> bool:
        """Say whether this very claim is held: neither dropped nor granted anew since."""
        return self._claims.get(claim.message_id) is claim

    def held(self) -> list[Claim]:
        """Return all claims, the next renewal first."""
        return sorted(self._claims.values(), key=lambda claim: claim.renew_at)


class Claims:
    """Renew what is held, and tell who must stop."""

    def __init__(
        self,
        relay: Relay,
        agent_id: str,
        instance_id: str,
        *,
        lease_s: float | None = None,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._relay = relay
        self._agent_id = agent_id
        self._instance_id = instance_id
        self._lease_s = lease_s
        """What is asked for; None is what the relay grants to everybody."""
        self._table = ClaimTable(lease_s or LEASE_S)
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()
        """How far the wall clock is ahead of the steady one."""
        self._changed = asyncio.Event()
        self.on_lost: Callable[[int], None] = lambda message_id: None

    def granted(self, lease_s: float) -> None:
        """Note how long a lease is at the relay that we joined."""
        if self._lease_s is None:
            self._table.lease_s = lease_s

    def hold(self, message_id: int, attempt: int) -> None:
        """Keep this claim alive from now on."""
        self._table.hold(message_id, attempt, self._steady())
        self._changed.set()

    def drop(self, message_id: int, attempt: int | None = None) -> None:
        """Let a claim (of that attempt) be: nothing is said to the relay."""
        self._table.drop(message_id, attempt)

    def held(self) -> list[Claim]:
        """Return all claims."""
        return self._table.held()

    def request(self, attempt: int | None = None) -> ClaimRequest:
        """Return what to ask the relay for a claim or a renewal."""
        return ClaimRequest(
            agent_id=self._agent_id, instance_id=self._instance_id, attempt=attempt, lease_s=self._lease_s
        )

    def release(self, attempt: int, reason: str, *, failed: bool = False, delay_s: float = 0.0) -> Release:
        """Return what to tell the relay to give a claim back."""
        return Release(
            agent_id=self._agent_id,
            instance_id=self._instance_id,
            attempt=attempt,
            reason=reason,
            failed=failed,
            delay_s=delay_s,
        )

    async def run(self) -> None:
        """Renew every claim when it is due, for ever."""
        while True:
            self._changed.clear()
            claims = self._table.held()
            if not claims:
                await self._changed.wait()
                continue
            if self._slept():
                self._table.renew_all(self._steady())
            if (wait_s := claims[0].renew_at - self._steady()) > 0:
                await _wait(self._changed, min(wait_s, MAX_SLEEP_S))
            else:
                await self._renew(claims[0])

    def _slept(self) -> bool:
        """Say whether the wall clock jumped ahead since the last look; one that was set back changes nothing."""
        parted = self._wall() - self._steady() - self._ahead
        self._ahead += parted
        return parted > JUMP_S

    async def _renew(self, claim: Claim) -> None:
        try:
            try:
                await self._relay.renew(claim.message_id, self.request(claim.attempt))
            except ClaimLost as error:
                await self._lost(claim, error)
            else:
                if self._table.has(claim):  # else it was settled or given back meanwhile
                    self._table.hold(claim.message_id, claim.attempt, self._steady())
        except (RelayUnavailable, RelayUnauthorized, ProtocolError):
            self._table.postpone(claim.message_id, self._steady() + RETRY_S)
        except RelayRefused as error:
            self._give_up(claim, error)

    async def _lost(self, claim: Claim, error: ClaimLost) -> None:
        """Fence the work, unless the lease only ran out (we slept, or the relay was away) and nobody else has it."""
        record = await self._relay.message(claim.message_id)
        mine = agent_principal(self._agent_id)
        if any(
            delivery.state is State.UNKNOWN and delivery.recipient == mine and delivery.attempt == claim.attempt
            for delivery in record.deliveries
        ):
            log.info("the lease on message %d ran out; what becomes of it is still reported", claim.message_id)
            self._table.drop(claim.message_id)
        else:
            self._give_up(claim, error)

    def _give_up(self, claim: Claim, error: Exception) -> None:
        if not self._table.has(claim):
            return  # while the relay was asked it was settled, given back, or granted anew
        log.warning("the claim on message %d is lost: %s", claim.message_id, error)
        self._table.drop(claim.message_id)
        self.on_lost(claim.message_id)


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
