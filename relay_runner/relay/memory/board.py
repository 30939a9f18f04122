"""What the parts of a relay in memory share: the clock, the event log, and the keys that senders gave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from relay_runner.protocol import acceptance
from relay_runner.protocol.access import Caller
from relay_runner.protocol.events import Event


class Board:
    """Tells everybody who waits that something happened."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.log: list[Event] = []
        self._keys: dict[tuple[str, str, str], tuple[object, float]] = {}
        self._waiting: set[asyncio.Event] = set()

    def emit(self, type_: str, **data: Any) -> None:
        """Add an event and wake everybody who waits for one."""
        self.log.append(Event(seq=len(self.log) + 1, type=type_, at=self.clock(), data=data))
        for waiting in self._waiting:
            waiting.set()

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Return an event that is set whenever something happened."""
        waiting = asyncio.Event()
        self._waiting.add(waiting)
        try:
            yield waiting
        finally:
            self._waiting.discard(waiting)

    def remembered(self, caller: Caller, kind: str, key: str | None) -> object | None:
        """Return what a sender's key stands for, None for a new one."""
        found, at = self._keys.get((caller.subject, kind, key or ""), (None, 0.0))
        return found if key is not None and at > self.clock() - acceptance.IDEMPOTENCY_S else None

    def remember(self, caller: Caller, kind: str, key: str | None, value: object) -> None:
        """Keep what a sender's key stands for."""
        if key is not None:
            self._keys[caller.subject, kind, key] = (value, self.clock())
