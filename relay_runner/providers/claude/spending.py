"""What turns of Claude Code cost: tokens from its transcripts, money from its status line.

Every line of the model carries the usage of its whole request, under the request's message id, so a request counts
once, by its last line (2.1.197). Subagents write theirs into files beside the session's transcript. The status line
tells the cost of the whole session so far, 0.3 s after each turn: a turn's is what was added since the last one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay_runner.errors import ProviderError
from relay_runner.protocol.usage import Usage
from relay_runner.providers.claude.transcript import usage_of
from relay_runner.providers.tail import JsonLines

log = logging.getLogger(__name__)

KEPT = 5_000
"""How many requests are remembered: their lines may come in parts."""


class Spending:
    """What was spent since the last turn that was accounted for."""

    def __init__(self, *, recalling: bool = False) -> None:
        """`recalling`: what comes first was written under an earlier runner, until `recalled`."""
        self._recalling = recalling
        self.closed = False
        """Whether the transcript shows that the turn is over: nothing of it is missing."""
        self._open: dict[str, Mapping[str, Any]] = {}
        self._counted: dict[str, None] = {}
        self._files: dict[Path, JsonLines] = {}
        self.priced = False
        """Whether the program tells what it costs."""
        self.priced_at = float("-inf")
        """When the program last told what it costs."""
        self._cost: float | None = None
        self._counted_cost: float | None = None

    def line(self, line: Any) -> None:
        """Take a line of the session's transcript."""
        if not isinstance(line, dict):
            return
        if line.get("type") == "system" and line.get("subtype") == "turn_duration":
            self.closed = not line.get("pendingBackgroundAgentCount")
            if self.closed and self._recalling:
                self._settle()
        elif line.get("type") == "user":
            self.closed = False
        elif line.get("isApiErrorMessage"):
            self.closed = True
        else:
            self._count(line)
            message = line.get("message")
            if line.get("type") == "assistant" and isinstance(message, dict) and not line.get("isSidechain"):
                self.closed = message.get("stop_reason") == "end_turn"

    def begin(self, transcript: Path) -> None:
        """Leave out what subagents of the session wrote before: an older process or runner accounted for it."""
        for path in _subagents(transcript):
            self._files[path] = JsonLines(path, at_end=True)

    def recalled(self) -> None:
        """From here on it is this runner that accounts for turns."""
        self._recalling = self.closed = False

    def price(self, payload: Mapping[str, Any], now: float) -> None:
        """Take what the status line was called with."""
        cost = payload.get("cost")
        told = cost.get("total_cost_usd") if isinstance(cost, dict) else None
        if isinstance(told, bool) or not isinstance(told, int | float):
            return
        if self._counted_cost is None or told < self._counted_cost:
            self._counted_cost = float(told) if self._counted_cost is None else 0.0  # a session that begins anew
        self._cost, self.priced, self.priced_at = float(told), True, now

    def take(self, transcript: Path | None) -> Usage | None:
        """Return what was spent since the last call, None where nothing tells it."""
        if transcript is not None:
            self._read_subagents(transcript)
        self.closed = False
        calls = self._settle()
        cost = None
        if self._cost is not None and self._counted_cost is not None:
            cost, self._counted_cost = max(0.0, round(self._cost - self._counted_cost, 9)), self._cost
        return usage_of(calls, cost or None)

    def _settle(self) -> dict[str, Mapping[str, Any]]:
        calls, self._open = self._open, {}
        self._counted.update(dict.fromkeys(calls))
        while len(self._counted) > KEPT:
            del self._counted[next(iter(self._counted))]
        return calls

    def _count(self, line: Mapping[str, Any]) -> None:
        message = line.get("message")
        if line.get("type") != "assistant" or not isinstance(message, dict):
            return
        usage, id = message.get("usage"), message.get("id")
        if isinstance(usage, dict) and isinstance(id, str) and id not in self._counted:
            self._open[id] = usage

    def _read_subagents(self, transcript: Path) -> None:
        """Count what subagents wrote; a file that cannot be read now is read with the next turn."""
        for path in _subagents(transcript):
            try:
                for line in self._files.setdefault(path, JsonLines(path)).read():
                    if isinstance(line, dict):
                        self._count(line)
            except ProviderError as error:
                log.info("not all of a turn's usage can be read: %s", error)


def _subagents(transcript: Path) -> list[Path]:
    return sorted((transcript.with_suffix("") / "subagents").glob("*.jsonl"))
