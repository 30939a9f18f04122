"""Bearer tokens: who may say what to the relay."""

from __future__ import annotations

from relay_runner.protocol.wire import Wire

SEND = "send"
OPERATOR = "operator"
ADMIN = "admin"


TOKEN_TTL_S = 24 * 3600.0
AGENT_PROFILE = "provider-agent"
INTERACTIVE_PROFILE = "provider-interactive"
PERSON_PROFILE = "person"
RENEWABLE = frozenset({AGENT_PROFILE, INTERACTIVE_PROFILE})
"""The profiles whose tokens may be renewed; any other one ends when it ends."""


def agent_scope(agent_id: str) -> str:
    """Return the scope that lets its holder be that agent."""
    return f"agent:{agent_id}"


class TokenRequest(Wire, frozen=True, kw_only=True):
    """What is posted to `POST /tokens` (needs the admin or operator scope)."""

    subject: str
    """The principal that the token speaks for: `agent:<id>` or `person:<login>`."""
    scopes: tuple[str, ...]
    profile_id: str = AGENT_PROFILE
    ttl_s: float = TOKEN_TTL_S


class TokenGrant(Wire, frozen=True, kw_only=True):
    """A token and what the relay says of it."""

    token: str
    jti: str
    profile_id: str
    subject: str
    scopes: tuple[str, ...]
    issued_at: float
    expires_at: float


class TokenInfo(Wire, frozen=True, kw_only=True):
    """What the relay says of a token that it made, without the token itself."""

    jti: str
    profile_id: str
    subject: str
    scopes: tuple[str, ...]
    issued_at: float
    expires_at: float
    revoked_at: float | None = None
    successors: tuple[str, ...] = ()
    """The `jti` of every token that was renewed from it."""
