"""Who may do what: the scopes of a token, as questions that raise where the answer is no."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from relay_runner.errors import RelayUnauthorized
from relay_runner.protocol.addresses import Address, Kind
from relay_runner.protocol.tokens import ADMIN, OPERATOR, RENEWABLE, SEND, TokenInfo, TokenRequest, agent_scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who speaks to the relay, as their token says."""

    subject: str
    """The principal: `agent:<id>` or `person:<login>`."""
    scopes: frozenset[str]
    jti: str = ""
    profile_id: str = ""
    issued_at: float = 0.0
    expires_at: float = 0.0

    @property
    def operates(self) -> bool:
        """Whether they may see everything and give orders."""
        return OPERATOR in self.scopes or ADMIN in self.scopes

    @property
    def is_operator(self) -> bool:
        """Whether what they send may be put as the user's own words."""
        return OPERATOR in self.scopes

    def may_be(self, agent_id: str) -> bool:
        """Say whether they may act as that agent's runner."""
        return agent_scope(agent_id) in self.scopes or ADMIN in self.scopes

    def need_send(self) -> None:
        """Raise unless they may post messages."""
        if SEND not in self.scopes and not self.operates:
            raise _forbidden(SEND)

    def need_agent(self, agent_id: str) -> None:
        """Raise unless they may act as that agent's runner."""
        if not self.may_be(agent_id):
            raise _forbidden(agent_scope(agent_id))

    def need_operator(self) -> None:
        """Raise unless they may give orders."""
        if not self.operates:
            raise _forbidden(OPERATOR)

    def need_renewable(self) -> None:
        """Raise unless their token is one that may be renewed."""
        if self.profile_id not in RENEWABLE:
            raise RelayUnauthorized(
                f"a token of the profile {self.profile_id!r} is not renewed",
                hint=f"only those of {', '.join(sorted(RENEWABLE))} are",
                status=403,
                code="not-renewable",
            )

    def need_decider(self) -> None:
        """Raise unless they may answer permissions: operators, and never an agent, whatever its token says."""
        self.need_operator()
        if self.subject.startswith(f"{Kind.AGENT}:"):
            raise RelayUnauthorized("an agent cannot answer permissions", status=403, code="forbidden")

    def need_agent_or_operator(self, agent_id: str | None) -> None:
        """Raise unless they operate or act as that agent's runner; with None, for all agents, only operators may."""
        if agent_id is None:
            self.need_operator()
        elif not self.operates:
            self.need_agent(agent_id)

    def may_see(self, *principals: str | None) -> bool:
        """Say whether they may read what concerns these principals."""
        return self.operates or any(self.is_(principal) for principal in principals if principal is not None)

    def is_(self, principal: str) -> bool:
        """Say whether they speak for that principal."""
        if principal == self.subject:
            return True
        return principal.startswith("agent:") and principal in self.scopes

    def principals(self) -> Collection[str]:
        """Return every principal whose messages are theirs to read."""
        return sorted({self.subject} | {scope for scope in self.scopes if scope.startswith("agent:")})

    def need_grant(self, request: TokenRequest) -> None:
        """Raise unless they may make that token: nobody gives away more than they have.

        An operator may besides make tokens for any agent: that agent's own scope, and `send`.
        """
        self.need_operator()
        if ADMIN in self.scopes:
            return
        address = Address.parse(request.subject)
        if address.kind is not Kind.AGENT and request.subject != self.subject:
            raise _forbidden(ADMIN)
        own = {agent_scope(address.value), SEND} if address.kind is Kind.AGENT else self.scopes
        for scope in request.scopes:
            if scope not in own:
                raise _forbidden(ADMIN)


def token_info(caller: Caller) -> TokenInfo:
    """Return what a caller's token says of itself."""
    return TokenInfo(
        jti=caller.jti,
        profile_id=caller.profile_id,
        subject=caller.subject,
        scopes=tuple(sorted(caller.scopes)),
        issued_at=caller.issued_at,
        expires_at=caller.expires_at,
    )


def token_expired() -> RelayUnauthorized:
    """Return the error of a token whose time is over."""
    return RelayUnauthorized("the token has expired", hint="renew it", code="token-expired")


def token_revoked() -> RelayUnauthorized:
    """Return the error of a token that was taken back."""
    return RelayUnauthorized("the token was revoked", hint="get a new one", code="token-revoked")


def _forbidden(scope: str) -> RelayUnauthorized:
    return RelayUnauthorized(f"this token lacks the scope {scope}", status=403, code="forbidden")
