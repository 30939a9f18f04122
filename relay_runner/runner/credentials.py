"""The agent's token, renewed before it runs out: a pure schedule and a thin loop around it.

Wall clock throughout: a machine that slept past the expiry wakes up, sees that it is late, and renews within the
relay's grace.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relay_runner.errors import ProtocolError, RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.tokens import TokenGrant
from relay_runner.relay.base import Relay

log = logging.getLogger(__name__)

LEAD_SHARE = 0.2
MIN_LEAD_S = 60.0
MAX_LEAD_S = 3600.0
JITTER_S = 30.0
RETRY_S = 60.0
MAX_SLEEP_S = 60.0
"""A sleep is never longer than this, so that a jump of the wall clock is noticed."""


@dataclass(frozen=True, slots=True)
class TokenSchedule:
    """When to renew one token."""

    issued_at: float
    expires_at: float

    def renew_at(self, jitter: float = 0.0) -> float:
        """Return the instant to renew at: expiry minus a lead of a fifth of the life (60 s to 1 h), minus the jitter.

        A life shorter than the least lead is renewed half-way, so that a short token never makes a hot loop.
        """
        life_s = self.expires_at - self.issued_at
        lead_s = min(max(LEAD_SHARE * life_s, MIN_LEAD_S), MAX_LEAD_S) + jitter
        return max(self.expires_at - lead_s, self.issued_at + life_s / 2)


class Credentials:
    """Keep the relay connection's token fresh."""

    def __init__(
        self,
        relay: Relay,
        grant: TokenGrant,
        on_renewed: Callable[[TokenGrant], None],
        reissue: Callable[[], Awaitable[TokenGrant]] | None = None,
    ) -> None:
        self._relay = relay
        self.grant = grant
        self._on_renewed = on_renewed
        self._reissue = reissue
        """Makes a token anew where the old one cannot be renewed any more; None where nobody here may do that."""

    async def run(self) -> None:
        """Renew when it is time, for ever."""
        while True:
            schedule = TokenSchedule(self.grant.issued_at, self.grant.expires_at)
            wait_s = schedule.renew_at(random.uniform(0.0, JITTER_S)) - time.time()
            if wait_s > 0:
                await asyncio.sleep(min(wait_s, MAX_SLEEP_S))
                continue
            try:
                grant = await self._renew()
            except (RelayUnavailable, RelayRefused, ProtocolError) as error:
                log.warning("the token could not be renewed: %s", error)
                await asyncio.sleep(RETRY_S + random.uniform(0.0, JITTER_S))
            else:
                self.grant = grant
                self._relay.use_token(grant.token)
                self._on_renewed(grant)
                log.info("token renewed, good until %s", time.ctime(grant.expires_at))

    async def _renew(self) -> TokenGrant:
        try:
            return await self._relay.renew_token()
        except RelayUnauthorized as error:
            # We slept longer than the relay's grace, or it has another signing key now.
            if self._reissue is None:
                raise
            log.info("the token cannot be renewed, another one is made: %s", error)
            return await self._reissue()
