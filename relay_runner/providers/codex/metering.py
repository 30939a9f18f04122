"""What Codex tells of its account: how many tokens its threads used, and which windows of its limits are used up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_runner.protocol.usage import Usage

LIMITS = "account/rateLimits/updated"
TOKENS = "thread/tokenUsage/updated"
FULL = 100
COUNTED = ("inputTokens", "cachedInputTokens", "outputTokens")


class Meter:
    """Add up what is used from one turn's end to the next, over the thread and its sub-agents.

    Only each thread's running total can be added up: the same report comes again after a failed request and after a
    resume (0.169.0). A total that falls back was begun anew, by a compaction.
    """

    def __init__(self) -> None:
        self._totals: dict[str, dict[str, int]] = {}
        self._used: dict[str, int] = {}

    def begin(self, thread_id: str) -> None:
        """A thread is new: its first total is all its own."""
        self._totals.setdefault(thread_id, {})

    def stands(self, thread_id: str, total: Any) -> None:
        """Take note where a thread that is not new stood before, unless it was heard of meanwhile."""
        if isinstance(total, dict):
            self._totals.setdefault(thread_id, _counts(total))

    def read(self, thread_id: str, usage: Any, *, works: bool = True) -> None:
        """Take in a report; of a thread of which nothing else is known, only the last request counts, if it `works`."""
        total, last = (usage.get("total"), usage.get("last")) if isinstance(usage, dict) else (None, None)
        if not isinstance(total, dict):
            return
        now, before = _counts(total), self._totals.get(thread_id)
        self._totals[thread_id] = now
        if before is None:
            used = _counts(last) if isinstance(last, dict) and works else {}
        else:
            used = {name: _more(value, before.get(name, 0)) for name, value in now.items()}
        for name, value in used.items():
            self._used[name] = self._used.get(name, 0) + value

    def take(self) -> Usage | None:
        """Return what was used since this was asked last, or None where nothing was told."""
        used, self._used = self._used, {}
        if not used:
            return None
        return Usage(
            input_tokens=used.get("inputTokens"),
            cached_tokens=used.get("cachedInputTokens"),
            output_tokens=used.get("outputTokens"),
        )


def _more(now: int, before: int) -> int:
    return now - before if now >= before else now


def _counts(report: Mapping[str, Any]) -> dict[str, int]:
    return {name: value for name in COUNTED if isinstance(value := report.get(name), int)}


class Windows:
    """Which windows of the account's limits are used up, and until when."""

    def __init__(self) -> None:
        self._limits: dict[str, Mapping[str, Any]] = {}

    def read(self, params: Mapping[str, Any]) -> None:
        """Take in a report."""
        told = params.get("rateLimits")
        if isinstance(told, dict):
            self._limits[str(told.get("limitId"))] = told

    def full_until(self, now: float) -> float | None:
        """Return when the last of the windows that are used up begins anew, or None where none is."""
        ends = [
            float(window["resetsAt"])
            for told in self._limits.values()
            for window in (told.get("primary"), told.get("secondary"))
            if isinstance(window, dict)
            and isinstance(window.get("resetsAt"), int | float)
            and (window.get("usedPercent") or 0) >= FULL
        ]
        return max((end for end in ends if end > now), default=None)
