"""A bell that synchronous code can ring, and that any number of services can wait for without missing a ring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Bell:
    """Ring it after every change; wait with `until`, or inside `listening`."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Event] = set()

    def ring(self) -> None:
        """Wake everybody who listens."""
        for listener in self._listeners:
            listener.set()

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Return an event that is set at every ring: clear it, look, then wait for it."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; it is looked at now and after every ring."""
        with self.listening() as rung:
            while not condition():
                rung.clear()
                await rung.wait()
