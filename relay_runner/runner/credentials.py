"""The agent's token: renewed before it runs out, replaced when the relay refuses it; a pure schedule and a thin loop.

Wall clock throughout: a machine that slept past the expiry wakes up, sees that it is late, and renews within the
relay's grace; after that a token is made anew where somebody here may do that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relay_runner.errors import RelayRunnerError, RelayUnauthorized
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.agents import Auth
from relay_runner.protocol.tokens import RENEWABLE, TokenGrant
from relay_runner.relay.base import Relay
from relay_runner.runner.work import Work

log = logging.getLogger(__name__)

LEAD_SHARE = 0.2
MIN_LEAD_S = 60.0
MAX_LEAD_S = 3600.0
JITTER_S = 30.0
RETRY_S = 60.0
SOONEST_S = 5.0
"""A relay that refuses even the token that it just made is not asked for the next one before this."""
MAX_SLEEP_S = 60.0
"""A sleep is never longer than this, so that a jump of the wall clock is noticed."""


@dataclass(frozen=True, slots=True)
class TokenSchedule:
    """When to renew one token."""

    issued_at: float
    expires_at: float
    received_at: float = -math.inf
    """When we got it, by our own clock, where that was just now: the relay's may be hours away from it."""

    def renew_at(self, jitter: float = 0.0) -> float:
        """Return the instant to renew at: expiry minus a lead of a fifth of the life (60 s to 1 h), minus the jitter.

        A life shorter than the least lead is renewed half-way, and no token within the least lead of its receipt, so
        that neither a short token nor two clocks that differ make a hot loop.
        """
        life_s = self.expires_at - self.issued_at
        lead_s = min(max(LEAD_SHARE * life_s, MIN_LEAD_S), MAX_LEAD_S) + jitter
        due_at = max(self.expires_at - lead_s, self.issued_at + life_s / 2)
        return max(due_at, self.received_at + min(life_s / 2, MIN_LEAD_S))


class Credentials:
    """Keep the token of the relay connection good.

    Whoever is refused calls `heal`; of many at once, one gets another token for all. One that cannot be had now is
    tried for again every minute, and by nobody meanwhile.
    """

    def __init__(
        self,
        relay: Relay,
        grant: TokenGrant,
        *,
        agent_id: str,
        work: Work,
        on_renewed: Callable[[TokenGrant], None],
        reissue: Callable[[], Awaitable[TokenGrant]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._relay = relay
        self._principal = agent_principal(agent_id)
        self._work = work
        self._on_renewed = on_renewed
        self._reissue = reissue
        """Gets a token anew from what is configured now; None where there is nothing to ask."""
        self._clock = clock
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._generation = 0
        self._refused = False
        self._retry_at = -math.inf
        self._take(grant, -math.inf)
        if grant.subject != self._principal:
            log.warning("%s shows a token of %s to the relay, not its own (rootTokenFallback)", agent_id, grant.subject)

    async def run(self) -> None:
        """Renew when it is time, for ever."""
        while True:
            self._wake.clear()
            wait_s = self._due_at() - self._clock()
            if wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(wait_s, MAX_SLEEP_S)):
                        await self._wake.wait()
                continue
            async with self._lock:
                if self._due_at() <= self._clock():  # nobody else got one meanwhile
                    await self._try()

    async def heal(self) -> None:
        """Get another token, for the relay refused the one in use; return when there is one, or none to be had now."""
        before = self._generation
        async with self._lock:
            if before != self._generation:
                return
            self._refused = True
            if self._clock() >= self._again_at():
                await self._try()
            self._wake.set()

    def _due_at(self) -> float:
        """Return the instant of the next try."""
        if self._refused:
            return self._again_at()
        if not self._renews and self._reissue is None:
            return math.inf
        return max(self._schedule.renew_at(self._jitter_s), self._again_at())

    def _again_at(self) -> float:
        """Return when it may be tried again after the last try; a clock that was set back since makes it no later."""
        return -math.inf if self._retry_at > self._clock() + RETRY_S + JITTER_S else self._retry_at

    @property
    def _renews(self) -> bool:
        return self.grant.profile_id in RENEWABLE

    async def _try(self) -> None:
        try:
            grant = await self._another()
        except RelayRunnerError as error:
            self._retry_at = self._clock() + RETRY_S + random.uniform(0.0, JITTER_S)
            if self._refused and isinstance(error, RelayUnauthorized):
                self._work.auth = None
            log.warning("no other token can be had: %s", error)
            self._work.timeline.add("runtime-token-renewal-failed", jti=self.grant.jti, reason=str(error))
            return
        if grant.jti != self.grant.jti:
            self._work.timeline.add(
                "runtime-token-renewed", jti=grant.jti, previousJti=self.grant.jti, expiresAt=grant.expires_at
            )
            log.info("the token was renewed, and is good until %s", time.ctime(grant.expires_at))
        now = self._clock()
        self._refused = False
        self._retry_at = now + min(SOONEST_S, (grant.expires_at - grant.issued_at) / 2)
        self._generation += 1
        self._take(grant, now)
        self._relay.use_token(grant.token)
        self._on_renewed(grant)

    async def _another(self) -> TokenGrant:
        """Return a token that is good: a successor of ours, or one made anew, or ours where it is taken again."""
        if self._renews:
            try:
                return await self._relay.renew_token()
            except RelayUnauthorized as error:
                # We slept longer than the relay's grace, it was revoked, or the relay has another signing key now.
                if self._reissue is None:
                    raise
                log.info("the token cannot be renewed: %s", error)
        if self._reissue is not None:
            return await self._reissue()
        await self._relay.who_am_i()
        return self.grant

    def _take(self, grant: TokenGrant, received_at: float) -> None:
        self.grant = grant
        self._schedule = TokenSchedule(grant.issued_at, grant.expires_at, received_at)
        self._jitter_s = random.uniform(0.0, JITTER_S)
        self._work.auth = Auth(
            profile_id=grant.profile_id,
            jti=grant.jti,
            subject=grant.subject,
            expires_at=grant.expires_at,
            root_token_fallback=grant.subject != self._principal,
        )
