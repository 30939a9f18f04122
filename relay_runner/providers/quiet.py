"""Telling from the screen alone whether a line-oriented program waits for input. Pure: captures and times in.

A program waits when its screen did not change for a while, the cursor stands right behind something that looks like its
prompt (or behind what a person typed after it), and its process shows no work. The prompt is learnt at the first quiet
moment, and again when it changes its text but still looks like one (a shell that shows its folder). Some programs have
none: then quiet alone counts, but a longer one at first. A question ("Overwrite? [y/n]", "Password:") is no prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay_runner.providers.base import ProcessState
from relay_runner.terminal.base import Screen

QUIET_S = 2.0
PROMPTLESS = 3
"""How many times `quiet_s` a program must rest that has shown nothing like a prompt yet: it may just start slowly."""
_ANGLES = "\u00bb\u276f\u203a\u03bb"  # the arrows and the lambda of decorated prompts
_PROMPT = re.compile(rf"[>$#%:{_ANGLES}]\s{{0,2}}")
_SHELL_LIKE = re.compile(rf"[>$#%{_ANGLES}]\s{{0,2}}")
_CHOICE = re.compile(r"[\[(]\s{0,3}y(?:es)?\s{0,3}/\s{0,3}no?\s{0,3}[\])]\??$", re.IGNORECASE)
_SECRET = re.compile(r"pass(?:word|phrase|code)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Line:
    """The row that the cursor stands in, cut at the cursor."""

    before: str
    after: str

    @property
    def whole(self) -> str:
        """The row."""
        return self.before + self.after


def cursor_line(screen: Screen) -> Line:
    """Return the row of the cursor; blanks that were cut off the row come back up to the cursor."""
    column, row = screen.cursor
    text = screen.lines[row] if row < len(screen.lines) else ""
    return Line(text[:column].ljust(column), text[column:])


class QuietScreen:
    """Feed it captures, ask it whether the program waits."""

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self.quiet_s = quiet_s
        self.prompt: str | None = None
        """What stands before the cursor when the program waits; None until a quiet moment, "" where it has none."""
        self._last: tuple[tuple[str, ...], tuple[int, int]] | None = None
        self._changed_at = 0.0
        self._line = Line("", "")

    def feed(self, now: float, screen: Screen, *, working: bool = False) -> ProcessState:
        """Take a capture and return what the program does; `working` is what its process shows."""
        now_shown = (screen.lines, screen.cursor)
        if now_shown != self._last:
            self._last, self._changed_at = now_shown, now
        self._line = cursor_line(screen)
        if working or screen.in_mode or self.since_change(now) < self.quiet_s:
            return ProcessState.BUSY
        if not (self.prompt and self.at_prompt) and _asks(self._line.before):
            return ProcessState.WAITING
        return ProcessState.IDLE if self._learn(self.since_change(now)) else ProcessState.BUSY

    def since_change(self, now: float) -> float:
        """Return for how long nothing has changed."""
        return now - self._changed_at

    @property
    def at_prompt(self) -> bool:
        """Whether the cursor stands in a row that begins with the prompt."""
        return self.prompt is not None and self._line.whole.startswith(self.prompt)

    @property
    def typed(self) -> str:
        """What stands on the input line that the program did not put there."""
        return self._line.whole[len(self.prompt or "") :].strip() if self.at_prompt else self._line.whole.strip()

    def _learn(self, quiet_for: float) -> bool:
        """Say whether the program rests at its prompt, and learn the prompt on the way."""
        if self.at_prompt and self.prompt:
            return True
        # A first prompt may end in a colon; later such a row is more likely a question.
        if _ends_as(self._line, _SHELL_LIKE if self.prompt else _PROMPT):
            self.prompt = self._line.before
            return True
        if self.prompt is None and quiet_for >= PROMPTLESS * self.quiet_s:
            self.prompt = ""
        return self.prompt == ""


def _ends_as(line: Line, pattern: re.Pattern[str]) -> bool:
    ends = any(pattern.fullmatch(line.before[-size:]) for size in (1, 2, 3))
    return not line.after.strip() and bool(line.before.strip()) and ends


def _asks(row: str) -> bool:
    """Say whether a row ends in a question, or asks for a secret anywhere."""
    words = row.rstrip().removesuffix(":").rstrip()
    return words.endswith("?") or _CHOICE.search(words) is not None or _SECRET.search(words) is not None


def answer(before: Screen, after: Screen, said: str, prompt: str) -> str:
    """Return the rows that came since `said` was put in, without the prompt; best effort, nothing that scrolled out."""
    rows = list(after.lines)
    while rows and not rows[-1].strip():
        rows.pop()
    if rows and prompt.strip() and rows[-1].strip() == prompt.strip():
        rows.pop()
    start = _behind_echo(rows, said, prompt)
    if start is None:
        start = _first_difference(before.lines, rows)
        for line in said.strip().split("\n"):
            if start < len(rows) and rows[start].strip() == line.strip():
                start += 1
    return "\n".join(rows[start:]).strip("\n")


def _behind_echo(rows: list[str], said: str, prompt: str) -> int | None:
    """Return the row behind the last one that shows a prompt and the last line of `said`, where one does."""
    last = said.strip().rpartition("\n")[2].strip()
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index].strip()
        if prompt.strip() and last and row.endswith(last) and row != last:
            return index + 1
    return None


def _first_difference(before: tuple[str, ...], rows: list[str]) -> int:
    for index, row in enumerate(rows):
        if index >= len(before) or before[index] != row:
            return index
    return len(rows)
