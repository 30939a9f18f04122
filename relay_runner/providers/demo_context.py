"""How full the demo agent's window would be, if it had a model: four characters are about a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_runner.protocol.agents import Context, context

WINDOW = 20_000
CHARS = 4
COMPACTED_TO = 10
"""A compaction leaves one part of so many."""


class ContextEstimate:
    """What one session's transcript adds up to."""

    def __init__(self) -> None:
        self._chars = 0
        self._lifecycle = "fresh"

    def take(self, record: Mapping[str, Any], now: float) -> Context | None:
        """Take one record; return the estimate where it changed it."""
        match record.get("type"):
            case "session" if not record.get("resumed"):
                self._chars, self._lifecycle = 0, "fresh"
            case "prompt" | "turn-ended" | "context":
                self._chars, self._lifecycle = self._chars + len(record.get("text") or ""), "active"
            case "operated" if record.get("action") == "compact":
                self._chars, self._lifecycle = self._chars // COMPACTED_TO, "compacted"
            case "session":
                pass
            case _:
                return None
        return context(
            self._chars // CHARS,
            WINDOW,
            source="estimate",
            confidence="estimated",
            at=now,
            lifecycle_state=self._lifecycle,
        )
