"""What Codex warns of: settings that it ignores, features that go away, models that it does not know.

Each is told once in a process's life: a new connection hears the same again (0.169.0, 0.171.0).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from relay_runner.protocol.envelope import sanitise_line
from relay_runner.providers.base import Warned

KINDS = {
    "warning": "warning",
    "guardianWarning": "warning",
    "configWarning": "config-warning",
    "deprecationNotice": "deprecation",
}
LIMIT = 1000
KEPT = 100


class Notices:
    """Turn notifications into what is told of them."""

    def __init__(self) -> None:
        self._told: deque[str] = deque(maxlen=KEPT)

    def take(self, method: str, params: Mapping[str, Any]) -> Warned | None:
        """Return what is to be told, None where it is no warning, or was told already."""
        kind = KINDS.get(method)
        said = (params.get(name) for name in ("message", "summary", "details", "path"))
        text = sanitise_line(": ".join(one for one in said if isinstance(one, str) and one), LIMIT)
        if kind is None or not text or text in self._told:
            return None
        self._told.append(text)
        return Warned(kind, text)
