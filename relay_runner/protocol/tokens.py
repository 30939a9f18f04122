"""Bearer tokens: who may say what to the relay."""

from __future__ import annotations

from relay_runner.protocol.wire import Wire

SEND = "send"
OPERATOR = "operator"
ADMIN = "admin"


def agent_scope(agent_id: str) -> str:
    """Return the scope that lets its holder be that agent."""
    return f"agent:{agent_id}"


class TokenRequest(Wire, frozen=True, kw_only=True):
    """What is posted to `POST /tokens` (needs the admin or operator scope)."""

    subject: str
    """The principal that the token speaks for: `agent:<id>` or `person:<login>`."""
    scopes: tuple[str, ...]
    profile_id: str = "provider-agent"
    ttl_s: float = 24 * 3600.0


class TokenGrant(Wire, frozen=True, kw_only=True):
    """A token and what the relay says of it."""

    token: str
    jti: str
    profile_id: str
    subject: str
    scopes: tuple[str, ...]
    issued_at: float
    expires_at: float
