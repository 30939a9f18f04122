"""How full Claude Code's window is, and which model and effort it uses, from what tells it best.

The status line (2.1.197) is called at the start, 0.3 s after each turn and after a compaction, with the window's size,
what the last request used, the model, the effort and the cost so far. Where it does not come (all hooks turned off) the
transcript's `message.usage` says how much was used. The size is then known only by the mark of the large window in the
model's name (2.1.197) or by what is used; it stays unknown otherwise: newer models have the large one without a mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_runner.protocol.agents import Context, context
from relay_runner.providers.base import ContextUsed, Event, Learnt

SMALL_WINDOW = 200_000
LARGE_WINDOW = 1_000_000
LARGE = "[1m]"
"""What the name of a model with the large window ends with."""


class ContextWatch:
    """What is known of one process's context; every call returns what is new."""

    def __init__(self, *, resumed: bool = False) -> None:
        self._context: Context | None = None
        self._facts: dict[str, Any] = {}
        self._lifecycle = "active" if resumed else "fresh"
        self._informed = False
        """Whether the status line is heard."""
        self._said_since = True
        """Whether the model said anything since the session was cleared or compacted."""
        self._from_lines: int | None = None
        """What the transcript says and nobody was told yet."""
        self._model: str | None = None
        """What the transcript says, which leaves out whether its window is the large one."""

    def status_line(self, payload: Mapping[str, Any], now: float) -> list[Event]:
        """Take what the status line was called with."""
        self._informed = True
        told = _object(payload.get("context_window"))
        tokens = _sum(told, ("total_input_tokens", "total_output_tokens"))
        window = told.get("context_window_size")
        if tokens and not self._said_since:
            return self._learn_of(payload)  # it was on its way when the session began anew
        if tokens:
            self._lifecycle = "compacting" if self._lifecycle == "compacting" else "active"
        elif self._lifecycle != "fresh":
            tokens = None  # after a compaction and a resume nobody knows before the next request
        return [*self._learn_of(payload), *self._tell(tokens, window, "statusline", "reported", now)]

    def session(self, source: str, now: float, model: str | None = None) -> list[Event]:
        """Take the beginning of a session: `startup`, `resume`, `clear`, `compact`; the model where it is told."""
        if model:
            self._facts["model"] = model
        if source in ("clear", "compact"):
            self._lifecycle = "fresh" if source == "clear" else "compacted"
            self._said_since = False
            return self._tell(0 if source == "clear" else None, self._window(), "hook", "reported", now)
        return []

    def compacting(self, now: float, *, over: bool = False) -> list[Event]:
        """Take the beginning of a compaction of ours, or its end if it came to nothing."""
        if not over:
            self._lifecycle = "compacting"
        elif self._lifecycle == "compacting":
            self._lifecycle = "active"
        known = self._context
        return self._tell(known.tokens if known else None, self._window(), "hook", "reported", now)

    def line(self, line: Any) -> None:
        """Take a line of the transcript."""
        message = line.get("message") if isinstance(line, dict) and not line.get("isSidechain") else None
        if isinstance(message, dict) and line.get("type") == "assistant" and not line.get("isApiErrorMessage"):
            self._said_since = True
            usage, model = _object(message.get("usage")), message.get("model")
            self._from_lines = _sum(usage, ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"))
            self._model = model if isinstance(model, str) else self._model

    def look(self, now: float) -> list[Event]:
        """Return what the transcript says, where nothing better tells it."""
        tokens, self._from_lines = self._from_lines, None
        if self._informed or not tokens:
            return []
        self._lifecycle, learnt = "active", list[Event]()
        if self._model and "model" not in self._facts:
            self._facts["model"] = self._model
            learnt.append(Learnt({"model": self._model}))
        return learnt + self._tell(tokens, self._window(tokens), "api", "estimated", now)

    def _window(self, tokens: int = 0) -> int | None:
        known = self._context.window if self._context is not None and self._informed else None
        large = str(self._facts.get("model") or "").endswith(LARGE) or tokens > SMALL_WINDOW
        return known or (LARGE_WINDOW if large else None)

    def _learn_of(self, payload: Mapping[str, Any]) -> list[Event]:
        told = {
            "model": _object(payload.get("model")).get("id"),
            "effort": _object(payload.get("effort")).get("level"),
        }
        new = {name: value for name, value in told.items() if value and self._facts.get(name) != value}
        self._facts.update(new)
        return [Learnt(new)] if new else []

    def _tell(self, tokens: int | None, window: Any, source: str, confidence: str, now: float) -> list[Event]:
        size = window if isinstance(window, int) else None
        found = context(tokens, size, source=source, confidence=confidence, at=now, lifecycle_state=self._lifecycle)
        if self._context is not None and _same(found, self._context):
            return []
        self._context = found
        return [ContextUsed(found)]


def _same(one: Context, other: Context) -> bool:
    fields = ("tokens", "window", "lifecycle_state", "confidence")
    return all(getattr(one, name) == getattr(other, name) for name in fields)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sum(values: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    told = [value for name in names if isinstance(value := values.get(name), int)]
    return sum(told) if told else None
