"""How long a limit of the model's side holds the queue: a pure schedule, `now` goes in.

A limit that tells its end holds until then; one that does not, for the least time, doubled each time that it is met
again at once, up to an hour. What is told is clamped to the least time and 7 days. A turn that works ends it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from relay_runner.protocol.messages import RATE_LIMITED
from relay_runner.providers.base import Limit

LEAST_S = 60.0
MOST_S = 7 * 24 * 3600.0
UNTOLD_MOST_S = 3600.0
HELD = RATE_LIMITED


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing goes in before `until`."""

    reason: str
    until: float
    tries: int = 1
    """How many times in a row the limit was met."""

    @property
    def text(self) -> str:
        """What people are told: `rate-limited until 2026-11-21 00:02:00 UTC`."""
        return f"{HELD}{datetime.fromtimestamp(self.until, UTC):%Y-%m-%d %H:%M:%S} UTC"


class Limits:
    """Keep the hold that is in force, or the last one while nothing has worked since."""

    def __init__(self, least_s: float = LEAST_S, hold: Hold | None = None) -> None:
        self._least_s = least_s
        self.last = hold

    def met(self, limit: Limit, now: float) -> Hold:
        """Take note of a limit that was met; told again while a hold is in force, only its end may move."""
        last = self.last
        held = last is not None and now < last.until
        tries = 1 if last is None else last.tries if held else last.tries + 1
        self.last = Hold(limit.reason, self._end(limit, tries, now), tries)
        if held and last is not None and limit.until is None:
            self.last = Hold(limit.reason, last.until, tries)
        return self.last

    def works(self) -> bool:
        """Take note that the model took work; say whether anything changed by it."""
        changed, self.last = self.last is not None, None
        return changed

    def hold(self, now: float) -> Hold | None:
        """Return the hold that is in force."""
        return self.last if self.last is not None and now < self.last.until else None

    def _end(self, limit: Limit, tries: int, now: float) -> float:
        if limit.until is not None and limit.until - now >= self._least_s:
            return min(limit.until, now + MOST_S)
        return now + min(self._least_s * 2.0 ** min(tries - 1, 30), max(UNTOLD_MOST_S, self._least_s))
