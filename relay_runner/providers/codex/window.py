"""How full the model's window is, from what the app-server tells of tokens and compactions (0.169.0).

A request's tokens are counted by the model's side. After a compaction the program estimates, and says so by telling no
input tokens; a new thread has nothing in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_runner.protocol.agents import context
from relay_runner.providers.base import ContextUsed, Event

COMPACTION = "contextCompaction"


class Window:
    """One thread's window; every call returns what is new."""

    def __init__(self) -> None:
        self._tokens: int | None = None
        self._size: int | None = None
        self._state = "active"
        self._counted = True

    def fresh(self, now: float) -> list[Event]:
        """Take a thread in which nothing was said yet."""
        self._tokens, self._state, self._counted = 0, "fresh", True
        return self._tell(now)

    def usage(self, usage: Any, now: float) -> list[Event]:
        """Take `thread/tokenUsage/updated`."""
        last = usage.get("last") if isinstance(usage, dict) else None
        if not isinstance(last, dict):
            return []
        self._tokens, self._size = _number(last.get("totalTokens")), _number(usage.get("modelContextWindow"))
        self._counted = last.get("inputTokens") != 0
        if self._state in ("fresh", "compacted") and self._counted:
            self._state = "active"
        return self._tell(now)

    def item(self, method: str, item: Mapping[str, Any], now: float) -> list[Event]:
        """Take the beginning or the end of an item: a compaction is one."""
        if item.get("type") != COMPACTION:
            return []
        self._state = "compacting" if method == "item/started" else "compacted"
        return self._tell(now)

    def _tell(self, now: float) -> list[Event]:
        confidence = "exact" if self._counted else "estimated"
        state = {"lifecycle_state": self._state}
        return [ContextUsed(context(self._tokens, self._size, source="api", confidence=confidence, at=now, **state))]


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None
