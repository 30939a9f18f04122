"""Codex's structured errors, in the words that a sender is told: `kind: message`, one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_runner.protocol.envelope import sanitise_line

FAILED = "failed"
RATE_LIMITED = "rate-limited"
AUTH_FAILED = "auth-failed"
CONTEXT_WINDOW = "context-window"
SECRET_UNAVAILABLE = "secret-unavailable"
NAMED = {
    "usageLimitExceeded": RATE_LIMITED,
    "rateLimitExceeded": RATE_LIMITED,
    "unauthorized": AUTH_FAILED,
    "contextWindowExceeded": CONTEXT_WINDOW,
}
BY_STATUS = {401: AUTH_FAILED, 403: AUTH_FAILED, 429: RATE_LIMITED}
MISSING_VARIABLE = "Missing environment variable"


def kind(error: Mapping[str, Any]) -> str:
    """Return the kind of an error as `turn.error` or an `error` notification carries it (0.169.0)."""
    info = error.get("codexErrorInfo")
    if isinstance(info, str) and info in NAMED:
        return NAMED[info]
    if isinstance(info, dict):
        for detail in info.values():
            if isinstance(detail, dict) and detail.get("httpStatusCode") in BY_STATUS:
                return BY_STATUS[detail["httpStatusCode"]]
    return SECRET_UNAVAILABLE if MISSING_VARIABLE in str(error.get("message")) else FAILED


def blocked(error: Mapping[str, Any] | None) -> bool:
    """Say whether a turn could not even begin, for want of a secret that a person has to give."""
    return bool(error) and kind(error or {}) == SECRET_UNAVAILABLE


def reason(error: Mapping[str, Any] | None) -> str:
    """Return one line for a person."""
    if not error:
        return f"{FAILED}: Codex did not say why"
    words = [str(error.get(name) or "") for name in ("message", "additionalDetails")]
    return f"{kind(error)}: {sanitise_line(': '.join(word for word in words if word), 500)}"
