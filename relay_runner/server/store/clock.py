"""The time that the store goes by: the wall clock, but for its jumps until they were taken into account.

The wall clock jumps (a suspended laptop, a paused VM, NTP, a person) while the steady one does not. What runs for a
while, leases above all, is kept as the instant of its end: a jump would end it at once, or for hours not at all. So
time goes on steadily until the writer has moved those instants along, and only then is the wall clock believed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

TOLERANCE_S = 1.0
"""How far the two may part within one look and be in step: a wall clock that is slewed, a machine that is slow."""

log = logging.getLogger(__name__)


class StoreClock:
    """Called, it tells the time; called from several threads, it may be told of a jump more than once."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] | None = None) -> None:
        self._wall = wall
        self._steady = steady or (time.monotonic if wall is time.time else wall)
        """A clock of a test, which is turned by hand, never jumps unless the test says so."""
        self._ahead = self._wall() - self._steady()

    def __call__(self) -> float:
        """Return the time, without a jump that was not taken into account yet."""
        wall, steady = self._wall(), self._steady()
        parted = wall - steady - self._ahead
        if abs(parted) > TOLERANCE_S:
            return steady + self._ahead
        self._ahead += parted
        return wall

    def jump(self) -> float:
        """Return by how much the wall clock jumped since that was last believed; 0.0 where it did not."""
        parted = self._wall() - self._steady() - self._ahead
        return parted if abs(parted) > TOLERANCE_S else 0.0

    def believe(self, jump: float) -> None:
        """Go by the wall clock again after this jump."""
        log.warning("the clock was set %s by %.0f s: leases continue", "forward" if jump > 0 else "back", abs(jump))
        self._ahead += jump
