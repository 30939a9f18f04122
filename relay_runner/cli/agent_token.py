"""The token that an agent's runner shows to its relay: one of its own wherever that can be had.

this machine's relay, or an operator's token: a new one is made for the agent
the agent's own, configured:                  that one, or the one that an earlier runner renewed it to
anybody else's that may speak for the agent:  that one; the runner says so (rootTokenFallback)
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable

from relay_runner import config
from relay_runner.cli import compose
from relay_runner.cli.choices import Request
from relay_runner.errors import ProtocolError, RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.tokens import (
    ADMIN,
    AGENT_PROFILE,
    INTERACTIVE_PROFILE,
    SEND,
    TokenGrant,
    TokenInfo,
    TokenRequest,
    agent_scope,
)
from relay_runner.protocol.wire import Wire, decode, encode
from relay_runner.relay.base import Relay

log = logging.getLogger(__name__)

RETRY_S = 2.0


class KeptToken(Wire, frozen=True, kw_only=True):
    """`token.json`, 0600: what a configured token was renewed to."""

    of: str
    """The digest of the configured one: another one in the settings makes this worthless."""
    grant: TokenGrant


class AgentToken:
    """Gets an agent's token, at the start and whenever it was lost, by the settings as they are then."""

    def __init__(self, request: Request, paths: config.Paths) -> None:
        self._request = request
        self._paths = paths
        self._agent_id = request.options.agent_id
        self._access: compose.RelayAccess | None = None

    async def first(self, tell: Callable[[str], None]) -> tuple[compose.RelayAccess, TokenGrant]:
        """Return the relay and a token to start with; a relay that is not there is asked again until it is."""
        settings = config.load(self._paths, None)
        if (unused := compose.unused_token(settings, self._request.relay_url)) is not None:
            tell(unused)
        said = False
        while True:
            try:
                return await self.obtain()
            except RelayUnavailable as error:
                if not said:
                    tell(f"{error}; trying until it answers")
                    said = True
                await asyncio.sleep(RETRY_S)

    async def obtain(self, *, start: bool = True) -> tuple[compose.RelayAccess, TokenGrant]:
        """Return the relay and a token; raise where there is none to be had. `start` starts this machine's relay."""
        settings = config.load(self._paths, None)
        wanted = TokenRequest(
            subject=agent_principal(self._agent_id),
            scopes=(agent_scope(self._agent_id), SEND),
            profile_id=AGENT_PROFILE if self._request.options.headless else INTERACTIVE_PROFILE,
        )
        access = self._access = await compose.access(self._paths, settings, url=self._request.relay_url, start=start)
        with compose.token_wanted(access):
            async with compose.relay_at(access) as relay:
                try:
                    return access, await relay.issue_token(wanted)
                except RelayRefused as error:
                    kept = self._kept(access)
                    if error.status == 401 and (kept is not None or error.code == "token-expired"):
                        return access, await _successor(relay, kept)
                    if error.status != 403:
                        raise
                return access, await _configured(relay, access, self._agent_id, kept)

    async def another(self) -> TokenGrant:
        """Return a token in place of one that is lost; a relay that was stopped on purpose stays so."""
        try:
            return (await self.obtain(start=False))[1]
        except OSError as error:
            raise RelayUnavailable(f"the relay cannot be asked ({error.strerror or error})") from error

    def keep(self, grant: TokenGrant) -> None:
        """Remember what the agent's configured token was renewed to, for the next start."""
        access = self._access
        if access is None or access.embedded or grant.token == access.token:
            return
        if grant.subject == agent_principal(self._agent_id):
            kept = KeptToken(of=_digest(access.token), grant=grant)
            try:
                config.write_private(self._paths.agent(self._agent_id).token, encode(kept))
            except OSError as error:  # the token is good all the same, until the next start
                log.warning("the renewed token cannot be kept: %s", error)

    def _kept(self, access: compose.RelayAccess) -> TokenGrant | None:
        try:
            kept = decode(self._paths.agent(self._agent_id).token.read_bytes(), KeptToken)
        except FileNotFoundError:
            return None
        except (OSError, ProtocolError) as error:
            log.warning("what the configured token was renewed to cannot be read: %s", error)
            return None
        return kept.grant if kept.of == _digest(access.token) else None


async def _successor(relay: Relay, kept: TokenGrant | None) -> TokenGrant:
    """Return a good successor of a configured token that is over: the kept one, or one made in the relay's grace."""
    if kept is not None:
        relay.use_token(kept.token)
        try:
            await relay.who_am_i()
        except RelayUnauthorized:
            log.info("the token of the last runner is over too")
        else:
            return kept
    return await relay.renew_token()


async def _configured(relay: Relay, access: compose.RelayAccess, agent_id: str, kept: TokenGrant | None) -> TokenGrant:
    """Return a configured token that makes no others, as long as it may speak for the agent."""
    info = await relay.who_am_i()
    if agent_scope(agent_id) not in info.scopes and ADMIN not in info.scopes:
        raise RelayUnauthorized(
            f"the configured token is {info.subject}'s and cannot be used for {agent_id}",
            hint=f"`relay-runner relay token new {agent_id}` where an operator of the relay is makes one",
            status=403,
            code="forbidden",
        )
    # The kept one lives longer.
    return kept if kept is not None and kept.expires_at > info.expires_at else _grant(info, access.token)


def _grant(info: TokenInfo, token: str) -> TokenGrant:
    return TokenGrant(
        token=token,
        jti=info.jti,
        profile_id=info.profile_id,
        subject=info.subject,
        scopes=info.scopes,
        issued_at=info.issued_at,
        expires_at=info.expires_at,
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:24]
