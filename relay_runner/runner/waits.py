"""What those are told who wait behind a turn that takes long, or behind what is no turn of ours at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from relay_runner.protocol.envelope import sanitise_line
from relay_runner.providers.base import Process, ProcessState
from relay_runner.runner.work import Work

BUSY = "the agent is busy since "
"""How the reason begins that is told of a long turn."""
LONG_S = 60.0
"""How long an agent is busy before the senders of what waits are told with what."""
_IN_PROGRAM = frozenset({ProcessState.BUSY, ProcessState.WAITING})


class Waits:
    """Know since when the program has been busy, and with what."""

    def __init__(self, work: Work, clock: Callable[[], float] = time.time) -> None:
        self._work = work
        self._clock = clock
        self._busy_since: float | None = None
        self._said: str | None = None

    def busy(self, process: Process | None) -> str | None:
        """Return what the agent is at, once that takes long: its program works, also on what is no turn of ours."""
        if process is None or process.state not in _IN_PROGRAM:
            self._busy_since = self._said = None
            return None
        now = self._clock()
        if self._busy_since is None:
            self._busy_since = now
        if now - self._busy_since < LONG_S:
            return None
        if (
            self._said is None
        ):  # said once: what it is at changes all the time, and each change would be told to everyone
            known = [one for one in self._work.status(now).busy_reasons if one != str(process.state)]
            what = ", ".join(known) or "the program is busy with work of its own, perhaps a hook"
            self._said = sanitise_line(f"{BUSY}{_clock(self._busy_since)}: {what}")
        return self._said

    def next_due(self) -> float | None:
        """Return when what keeps the agent busy has taken long."""
        due = None if self._busy_since is None else self._busy_since + LONG_S
        return due if due is not None and due > self._clock() else None


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"
