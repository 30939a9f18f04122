"""Codex's structured errors in the words that a sender is told, `kind: message`, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from relay_runner.protocol.envelope import sanitise_line
from relay_runner.protocol.messages import Outcome
from relay_runner.providers import limits
from relay_runner.providers.base import Limit


class Kind(StrEnum):
    """What went wrong, as others can act on it."""

    FAILED = "failed"
    SPAWN_FAILED = "spawn-failed"
    """The server ended before it took anything."""
    JSON_PARSE_ERROR = "json-parse-error"
    """The server sent what is no JSON; it is passed over, as what came with it is asked for again."""
    TIMEOUT = "timeout"
    """Nobody answered in time: the server did not, or the model could not be reached."""
    PROTOCOL_ERROR = "protocol-error"
    """The connection to the server broke."""
    RESPONSE_INVALID = "response-invalid"
    """The server's answer lacks what it must have."""
    RATE_LIMITED = "rate-limited"
    OVERLOADED = "overloaded"
    """The model's side has no room just now: it is waited for like a limit."""
    AUTH_FAILED = "auth-failed"
    CONTEXT_WINDOW = "context-window"
    SECRET_UNAVAILABLE = "secret-unavailable"
    """A secret that the model provider wants is not there: the turn is blocked."""


NAMED = {
    "usageLimitExceeded": Kind.RATE_LIMITED,
    "rateLimitExceeded": Kind.RATE_LIMITED,
    "serverOverloaded": Kind.OVERLOADED,
    "unauthorized": Kind.AUTH_FAILED,
    "contextWindowExceeded": Kind.CONTEXT_WINDOW,
}
BY_STATUS = {401: Kind.AUTH_FAILED, 403: Kind.AUTH_FAILED, 429: Kind.RATE_LIMITED}
MISSING_VARIABLE = "Missing environment variable"
SAID_NOTHING = "Codex did not say why"


def kind(error: Mapping[str, Any] | None) -> Kind:
    """Return the kind of an error as `turn.error` or an `error` notification carries it (0.169.0)."""
    info = error.get("codexErrorInfo") if error else None
    if isinstance(info, str) and info in NAMED:
        return NAMED[info]
    if isinstance(info, dict):
        for detail in info.values():
            if isinstance(detail, dict) and detail.get("httpStatusCode") in BY_STATUS:
                return BY_STATUS[detail["httpStatusCode"]]
    return Kind.SECRET_UNAVAILABLE if error and MISSING_VARIABLE in str(error.get("message")) else Kind.FAILED


def reason(error: Mapping[str, Any] | None) -> str:
    """Return one line for a person."""
    return f"{kind(error)}: {words(error)}"


def words(error: Mapping[str, Any] | None) -> str:
    """Return what an error says, in one line."""
    said = [str((error or {}).get(name) or "") for name in ("message", "additionalDetails")]
    return sanitise_line(": ".join(word for word in said if word), 500) or SAID_NOTHING


def outcome(error: Mapping[str, Any] | None) -> Outcome:
    """Return how a turn ended that failed by this error."""
    return Outcome.BLOCKED if kind(error) is Kind.SECRET_UNAVAILABLE else Outcome.FAILED


def limit(error: Mapping[str, Any] | None, now: float, resets_at: float | None = None) -> Limit | None:
    """Return the limit that an error is about, or None; `resets_at` is when a window that is used up ends, if known."""
    if kind(error) not in (Kind.RATE_LIMITED, Kind.OVERLOADED):
        return None
    until = resets_at if resets_at is not None else limits.from_text(words(error), now)
    return Limit(words(error), until)


def telling(first: Mapping[str, Any] | None, last: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return of two errors of one trouble the one that says more: a structured one outlives a generic end."""
    if first is not None and kind(first) is not Kind.FAILED and kind(last) is Kind.FAILED:
        return first
    return last or first
