"""Bearer tokens: JWTs signed with the store's key, revocable, renewable for a while after they expired."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import jwt
import msgspec

from relay_runner.errors import RelayRefused, RelayUnauthorized
from relay_runner.protocol.access import Caller, token_expired, token_revoked
from relay_runner.protocol.addresses import AGENT_ID, Address, Kind
from relay_runner.protocol.tokens import ADMIN, OPERATOR, SEND, TokenGrant, TokenRequest
from relay_runner.server.store.base import Change, Store

ALGORITHM = "HS256"
GRACE_S = 600.0
"""How long an expired token can still be renewed."""
MAX_TTL_S = 366 * 24 * 3600.0
CACHE = 4096
_OPTIONS: Any = {"verify_exp": False, "verify_iat": False, "require": ["jti", "sub", "exp"]}


class Tokens:
    """Makes tokens and knows their holders; `clock` decides what expired."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, Caller] = {}
        self._revoked: set[str] = set()
        """What was revoked while this process runs: a call that goes on is older than that."""

    async def caller(self, token: str, *, grace_s: float = 0.0) -> Caller:
        """Return who holds a token; raise `RelayUnauthorized` for one that is wrong, expired or revoked."""
        caller = self._known.get(token)
        if caller is None:
            caller = await self._check(token)
        if caller.expires_at + grace_s <= self._clock():
            raise token_expired()
        return caller

    async def issue(self, by: Caller, request: TokenRequest) -> TokenGrant:
        """Make a token that `by` may give away."""
        _check_request(request)
        by.need_grant(request)
        return await self._make(request, self._store.under(by))

    async def mint(self, request: TokenRequest) -> TokenGrant:
        """Make a token, remembered in the store."""
        return await self._make(request, self._store)

    async def _make(self, request: TokenRequest, store: Store, parent: str | None = None) -> TokenGrant:
        now = self._clock()
        jti = secrets.token_hex(12)
        grant = TokenGrant(
            token=self._sign(request, jti, now),
            jti=jti,
            profile_id=request.profile_id,
            subject=request.subject,
            scopes=request.scopes,
            issued_at=now,
            expires_at=now + request.ttl_s,
        )
        await store.put_token(grant, parent)
        return grant

    async def renew(self, caller: Caller) -> TokenGrant:
        """Make the successor of a caller's token: the same rights for the same time again."""
        caller.need_renewable()
        request = TokenRequest(
            subject=caller.subject,
            scopes=tuple(sorted(caller.scopes)),
            profile_id=caller.profile_id,
            ttl_s=caller.expires_at - caller.issued_at,
        )
        return await self._make(request, self._store.under(caller, GRACE_S), parent=caller.jti)

    async def retire(self, token: str) -> None:
        """Make one of our own tokens worthless, if it still was worth something."""
        try:
            caller = await self.caller(token)
        except RelayUnauthorized:
            return
        await self._store.revoke_token(caller.jti)

    def is_over(self, caller: Caller) -> bool:
        """Say whether somebody who was let in before would not be let in now: for calls that go on."""
        return caller.jti in self._revoked or caller.expires_at <= self._clock()

    def notice(self, changes: Sequence[Change]) -> None:
        """Forget tokens that were revoked, by whichever relay process."""
        revoked = {change.event.data["jti"] for change in changes if change.event.type == "token"}
        if revoked:
            self._revoked |= revoked
            self._known = {token: caller for token, caller in self._known.items() if caller.jti not in revoked}

    async def _check(self, token: str) -> Caller:
        try:
            claims = jwt.decode(token, self._store.signing_key, algorithms=[ALGORITHM], options=_OPTIONS)
            caller = Caller(
                subject=str(claims["sub"]),
                scopes=frozenset(msgspec.convert(claims.get("scopes", []), list[str])),
                jti=str(claims["jti"]),
                profile_id=str(claims.get("profileId", "")),
                issued_at=float(claims.get("iat", 0.0)),
                expires_at=float(claims["exp"]),
            )
        except (jwt.InvalidTokenError, msgspec.ValidationError, TypeError, ValueError) as error:
            raise RelayUnauthorized("this relay did not make that token", hint="get one from it") from error
        before = len(self._revoked)
        if not await self._store.token_good(caller.jti):
            raise token_revoked()
        if before == len(self._revoked):  # else a revocation may have passed while the store was asked
            if len(self._known) >= CACHE:
                self._known.clear()
            self._known[token] = caller
        return caller

    def _sign(self, request: TokenRequest, jti: str, now: float) -> str:
        claims = {
            "jti": jti,
            "sub": request.subject,
            "profileId": request.profile_id,
            "scopes": list(request.scopes),
            "iat": now,
            "exp": now + request.ttl_s,
        }
        return jwt.encode(claims, self._store.signing_key, algorithm=ALGORITHM)


def _check_request(request: TokenRequest) -> None:
    address = Address.parse(request.subject)
    if address.kind not in (Kind.AGENT, Kind.PERSON) or str(address) != request.subject:
        raise RelayRefused(f"{request.subject!r} is nobody", hint="use agent:ID or person:LOGIN", status=422)
    if not 0 < request.ttl_s <= MAX_TTL_S:
        raise RelayRefused("ttlS must be above 0 and at most a year", status=422)
    for scope in request.scopes:
        names_agent = scope.startswith(f"{Kind.AGENT}:") and AGENT_ID.fullmatch(scope.partition(":")[2])
        if scope not in (SEND, OPERATOR, ADMIN) and not names_agent:
            raise RelayRefused(
                f"there is no scope {scope!r}", hint=f"use {SEND}, {OPERATOR}, {ADMIN} or agent:ID", status=422
            )
