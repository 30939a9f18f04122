"""Why a turn of Claude Code failed, in the words that a sender is told, and which failures are limits that pass.

The program (2.1.197) sorts a request's last error into a kind and words: `rate_limit` for 429, `server_error` for 500
and 529 alike, `authentication_failed` for 401 and 403, `invalid_request` for a conversation that is too long. When a
limit ends stands in the words (`resets 3pm`), or in what the status line says of the subscription's windows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from relay_runner.protocol.envelope import sanitise_line
from relay_runner.protocol.messages import Outcome
from relay_runner.providers import limits
from relay_runner.providers.base import Event, Evidence, Limit, TurnEnded

RATE_LIMITED = "rate-limited"
OVERLOADED = "overloaded"
CONTEXT_WINDOW = "context-window"
KINDS = {
    "rate_limit": RATE_LIMITED,
    "overloaded": OVERLOADED,
    "authentication_failed": "auth-failed",
    "oauth_org_not_allowed": "auth-failed",
    "billing_error": "billing",
    "model_not_found": "model-not-found",
    "max_output_tokens": "output-limit",
}
PASSING = frozenset({RATE_LIMITED, OVERLOADED})
"""What ends by itself: a turn that met it is continued afterwards."""
FULL = 100.0
MAX_CHARS = 500

_USAGE_LIMIT = re.compile(
    r"(?:usage|session|weekly|daily|hour|Opus|Sonnet) limit\b.{0,200}\b(?:reached|hit|resets)|hit your .{0,200}limit",
    re.I,
)
_OVERLOADED = re.compile(r"\b529\b|overloaded", re.IGNORECASE)
_TOO_LONG = re.compile(r"prompt is too long|context limit", re.IGNORECASE)


def reason(kind: Any, text: Any) -> str:
    """Return one line for a person: `kind: what the program says`."""
    words = sanitise_line(str(text or ""), MAX_CHARS)
    name = _name(str(kind or "error"), words)
    return f"{name}: {words}" if words else name


def _name(kind: str, words: str) -> str:
    if kind not in KINDS and _TOO_LONG.search(words):
        return CONTEXT_WINDOW
    if _USAGE_LIMIT.search(words):
        return RATE_LIMITED
    if kind == "server_error" and _OVERLOADED.search(words):
        return OVERLOADED
    return KINDS.get(kind, kind.replace("_", "-"))


class Limits:
    """Which failures are limits, with the subscription's windows as the status line told them last."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, float]] = {}
        """By name: how much is used, in percent, and when it begins anew."""

    def status_line(self, payload: Mapping[str, Any]) -> None:
        """Take what the status line was called with; only a subscription has such windows."""
        told = payload.get("rate_limits")
        if not isinstance(told, dict):
            return
        for name, window in told.items():
            used = window.get("used_percentage") if isinstance(window, dict) else None
            at = limits.instant(window.get("resets_at")) if isinstance(window, dict) else None
            if isinstance(used, int | float) and at is not None:
                self._windows[str(name)] = (float(used), at)

    def of(self, why: str | None, now: float) -> Limit | None:
        """Return the limit that a turn failed for with this reason."""
        kind, _, words = (why or "").partition(": ")
        if kind not in PASSING:
            return None
        until = limits.from_text(words, now)
        if until is None and kind == RATE_LIMITED:
            until = max((at for used, at in self._windows.values() if used >= FULL and at > now), default=None)
        return Limit(words or kind, until)

    def mark(self, event: Event, now: float) -> Event:
        """Return the event, with its limit where it is the end of a turn that met one."""
        if isinstance(event, TurnEnded) and event.outcome is Outcome.FAILED:
            return replace(event, limit=self.of(event.reason, now))
        return event

    def evidence(self, found: Evidence, now: float) -> Evidence:
        """Return what the records say of a message, with the limit that its turn met."""
        return replace(found, limit=self.of(found.reason, now)) if found.outcome is Outcome.FAILED else found
