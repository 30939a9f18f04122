"""Whether a provider that ended is started again: a pure decision over the recent exits.

The window counts exits, not quick ones: a program that crashes every 31 seconds is given up just like one that
crashes at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WINDOW_S = 120.0
MAX_EXITS = 3
STEP_S = 0.5
MAX_DELAY_S = 10.0


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not start it again, for this reason."""

    reason: str


@dataclass(slots=True)
class RestartPolicy:
    """Remember recent exits and say what to do after the next one."""

    _exits: list[float] = field(default_factory=list)

    def after_exit(self, now: float, ran_for: float) -> float | GiveUp:
        """Return the delay in seconds before the next start, or `GiveUp` after more than 3 exits in 2 minutes."""
        self._exits = [at for at in self._exits if now - at < WINDOW_S] + [now]
        recent = len(self._exits)
        if recent > MAX_EXITS:
            return GiveUp(f"it ended {recent} times in {WINDOW_S:.0f} s, the last time after {ran_for:.0f} s")
        return min(MAX_DELAY_S, max(STEP_S, STEP_S * recent))
