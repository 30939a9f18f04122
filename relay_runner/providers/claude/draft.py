"""How long a person's half-typed line is waited for, by what the looks at the input row show.

A wait counts for the line that it judges: one that took the place of another, or that nobody looked at for a while and
so may be another, is waited for from its own start.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay_runner.providers.claude.screen import InputRow

TYPING_HOLD_S = 60.0
"""How long a half-typed line holds a delivery."""
STILL_S = 3.0
"""A line that changed more recently than this is being typed right now."""
UNWATCHED_S = 20.0
"""What nobody looked at for this long may have come and gone; a message that is held looks every 5 s."""


@dataclass(slots=True)
class _Line:
    text: str
    since: float
    changed_at: float
    seen_at: float


class Draft:
    """Remembers since when a person's line stands there."""

    def __init__(self) -> None:
        self._line: _Line | None = None

    def waits(self, row: InputRow, now: float) -> bool:
        """Take a look; say whether a person's line is still to be waited for."""
        if not row.draft:
            self._line = None
            return False
        text, line = "".join("".join((row.text, *row.more)).split()), self._line
        if line is None or now - line.seen_at > UNWATCHED_S or not _goes_on(line.text, text):
            line = self._line = _Line(text, now, now, now)
        elif line.text != text:
            line.text, line.changed_at = text, now
        line.seen_at = now
        return now - line.since < TYPING_HOLD_S or now - line.changed_at < STILL_S

    def forget(self) -> None:
        """The line was put aside."""
        self._line = None


def _goes_on(before: str, after: str) -> bool:
    """Say whether a line is another one with something added, or taken away, at its end."""
    return before.startswith(after) or after.startswith(before)
