"""What keeps messages from going in now, since when: shown to everybody, and written down once it lasts.

Most of it is over in a moment and no news. What lasts stands in the agent's status with its age, and what has lasted
for a minute leaves in the log what the program showed and said of itself, once: a hold that nothing explains is found
out by that, or by nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from relay_runner.protocol.agents import HeldMessage
from relay_runner.providers.base import Process
from relay_runner.runner.work import Work

log = logging.getLogger(__name__)

SHOWN_S = 5.0
"""How long a message is held before others are shown that it is."""
LOGGED_S = 60.0
"""How long before what it is held by is written down."""
MOST = 20


class Obstacles:
    """The messages that are held here, each with why and since when."""

    def __init__(self, work: Work, publish: Callable[[], None]) -> None:
        self._work = work
        self._publish = publish
        self._held: dict[int, HeldMessage] = {}
        self._logged: set[int] = set()

    def met(self, message_id: int, reason: str) -> None:
        """Take note of what holds a message now; its age is that of the first hold since it was last on its way."""
        now = time.time()
        known = self._held.get(message_id)
        since = known.since if known is not None else now
        self._held[message_id] = HeldMessage(message_id=message_id, reason=reason, since=since)
        self._show(now)

    def over(self, message_id: int) -> None:
        """Take note that a message went in, or is not ours any more."""
        if self._held.pop(message_id, None) is not None:
            self._logged.discard(message_id)
            self._show(time.time())

    def clear(self) -> None:
        """Take note that the program ended: it holds nothing."""
        self._held.clear()
        self._logged.clear()
        self._show(time.time())

    @property
    def reason(self) -> str | None:
        """Why the message that is held the longest is held."""
        oldest = min(self._held.values(), key=lambda held: held.since, default=None)
        return oldest.reason if oldest is not None else None

    def next_due(self) -> float | None:
        """Return when there is something to show or to write down."""
        shown = {held.message_id for held in self._work.held}
        due = [held.since + SHOWN_S for held in self._held.values() if held.message_id not in shown]
        due += [held.since + LOGGED_S for held in self._held.values() if held.message_id not in self._logged]
        return min(due, default=None) if len(shown) < MOST else None

    async def tend(self, process: Process) -> None:
        """Show what has lasted for a moment, and write down what the program shows where it has lasted for a minute."""
        now = time.time()
        self._show(now)
        lasting = [held for held in self._held.values() if now - held.since >= LOGGED_S]
        fresh = [held for held in lasting if held.message_id not in self._logged]
        if not fresh:
            return
        self._logged.update(held.message_id for held in fresh)
        for held in fresh:
            log.warning("message %d is held for %d s: %s", held.message_id, now - held.since, held.reason)
        log.warning("the program shows:\n%s", await process.snapshot())

    def _show(self, now: float) -> None:
        shown = tuple(held for held in self._held.values() if now - held.since >= SHOWN_S)[:MOST]
        if shown != self._work.held:
            self._work.held = shown
            self._publish()
