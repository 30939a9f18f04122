"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Iterator

FIRST_S = 1.0
FACTOR = 2.0
LIMIT_S = 60.0


def delays(first_s: float = FIRST_S, limit_s: float = LIMIT_S) -> Iterator[float]:
    """Yield delays in seconds for ever: `first_s` doubled up to `limit_s`, each shortened by up to half (jitter)."""
    delay = first_s
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * FACTOR, limit_s)


def of_attempt(attempt: int, first_s: float = FIRST_S, limit_s: float = LIMIT_S) -> float:
    """Return the delay in seconds after the `attempt`-th failed try (from 1), without jitter."""
    return min(first_s * FACTOR ** (attempt - 1), limit_s)
