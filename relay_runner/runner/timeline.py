"""What happened to a runner, as a queue: everything between two publications is told, in order, and none is lost.

A status on the bus may be lost with its connection, so events are told with every status until one over HTTP was
answered; the relay knows by their ids which it has.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from relay_runner.protocol.agents import TIMELINE_KEPT, TimelineEvent

log = logging.getLogger(__name__)


class Timeline:
    """Events that the relay may not have yet, oldest first; of too many the oldest are dropped."""

    def __init__(self, instance_id: str = "", clock: Callable[[], float] = time.time) -> None:
        self._instance_id = instance_id
        self._clock = clock
        self._count = 0
        self._waiting: deque[TimelineEvent] = deque()

    def add(self, kind: str, **data: Any) -> None:
        """Note that something happened now; what is None is left out."""
        self._count += 1
        told = {name: value for name, value in data.items() if value is not None}
        event = TimelineEvent(id=f"{self._instance_id[:12]}-{self._count}", kind=kind, at=self._clock(), data=told)
        self._waiting.append(event)
        if len(self._waiting) > TIMELINE_KEPT:
            dropped = self._waiting.popleft()
            log.warning("more happened than the relay can be told: %s is left out", dropped.kind)

    @property
    def waiting(self) -> tuple[TimelineEvent, ...]:
        """What is to be told."""
        return tuple(self._waiting)

    def confirmed(self, told: Iterable[TimelineEvent]) -> None:
        """Forget what the relay has for certain."""
        known = {event.id for event in told}
        self._waiting = deque(event for event in self._waiting if event.id not in known)
