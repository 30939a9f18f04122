"""The dialogs on Claude Code's screen, and whether one is the dialog that we know of. Screens are data.

    ────────────── 2.1.197                      ────────────── 2.1.332
     Bash command · from the ... agent           Bash command
       mkdir x1                                  Tip: auto mode handles these prompts for you
       fake run                                  fake run
     Do you want to proceed?                    ╌╌╌╌╌╌╌╌╌╌╌╌╌╌
     > 1. Yes                                    mkdir x1
       2. Yes, and always allow ...             ╌╌╌╌╌╌╌╌╌╌╌╌╌╌
       3. No                                     Do you want to proceed?
                                                 > 1. Yes
                                                   2. Yes, and always allow ...
                                                   3. Yes, and switch to auto mode
                                                   4. No

The same digit says something else in another version, and some dialogs have no digits: what a row means is its label,
and nothing else. A key is pressed only in a dialog that shows exactly what was asked: a command whose lines all stand
there. What is folded, wrapped or cut is not proof.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from relay_runner.providers.claude.asks import Ask
from relay_runner.providers.claude.screen import input_row
from relay_runner.terminal.base import Screen

_TOP = re.compile(r"^[─▔]{10,}")
_INNER_TOP = re.compile(r"^\s+─{10,}")
_FENCE = re.compile(r"^\s*╌{8,}")
_NUMBERED = re.compile(r"^(?P<indent>\s*)(?:(?P<sign>\u276f )\s*)?(?P<digit>\d{1,2})\. (?P<label>\S.*)$")
_CHOSEN = re.compile(r"^(?P<indent>\s+)\u276f (?P<label>\S.*)$")
_GUTTER = re.compile(r"^ │ ?")
_TIP = re.compile(r"^ Tip: ")
_INDENT = "   "
_BASH = "Bash command"
_LEAST_ROWS = 2
_CUT = "…"
YES = "Yes"


@dataclass(frozen=True, slots=True)
class Row:
    """One choice."""

    label: str
    digit: str | None = None
    """The key that chooses it at once; None: it is gone to, and then taken by Enter."""
    chosen: bool = False
    """Whether Enter would take it now."""


@dataclass(frozen=True, slots=True)
class Dialog:
    """What a dialog says, and what can be chosen."""

    header: str
    """What it is about, without who asks."""
    above: tuple[str, ...]
    """The lines between the header and the fence, without the empty ones; all of them where there is no fence."""
    fenced: tuple[str, ...] | None
    """The lines between the fences, as they are drawn."""
    below: tuple[str, ...]
    """The lines between the fence and the question."""
    question: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """One line for a person."""
        above = [line for line in self.above if not _TIP.match(line)]
        fenced = [_GUTTER.sub("", line) for line in self.fenced or ()]
        lines = [*fenced, *above] if self.header == _BASH else [*above, *fenced]
        first = next((line.strip() for line in lines if line.strip()), None)
        return f"{self.header}: {first}" if first else self.header

    @property
    def text(self) -> str:
        """Everything that it says and offers, for a person."""
        rows = (f"{'> ' if row.chosen else '  '}{row.label}" for row in self.rows)
        return "\n".join([self.header, *self.above, *(self.fenced or ()), *self.below, self.question, *rows]).strip()

    @property
    def labels(self) -> tuple[str, ...]:
        """What can be chosen."""
        return tuple(row.label for row in self.rows)

    def row(self, label: str) -> Row | None:
        """Return the one row that says this and nothing else."""
        found = [row for row in self.rows if row.label == label]
        return found[0] if len(found) == 1 else None

    def like(self, other: Dialog) -> bool:
        """Say whether it is the same dialog, whichever row is chosen now."""
        return _unchosen(self) == _unchosen(other)


def dialog_of(screen: Screen) -> Dialog | None:
    """Return the dialog that is on the screen."""
    if input_row(screen) is not None:
        return None
    lines = screen.lines
    rows, at = _rows(lines)
    top = next((number for number in range(at - 1, -1, -1) if _TOP.match(lines[number])), -1)
    said = [line.rstrip() for line in lines[top + 1 : at]]
    while said and (not said[0].strip() or _INNER_TOP.match(said[0])):
        said.pop(0)
    if not rows or not said:
        return None
    header, *rest = said
    while rest and not rest[-1].strip():
        rest.pop()
    question = rest.pop() if rest else ""
    above, fenced, below = _fenced(rest)
    return Dialog(header.strip().partition(" · ")[0], _lines(above), fenced, _lines(below), question.strip(), rows)


def proves(dialog: Dialog, ask: Ask) -> bool:
    """Say whether this is the dialog of that very request, and a plain yes can be chosen in it."""
    command = ask.command
    if command is None or dialog.header != _BASH or dialog.row(YES) is None:
        return False
    given = ask.input.get("description")
    description = [given] if isinstance(given, str) and given.strip() else []
    if dialog.fenced is None:
        return list(dialog.above) == [f"{_INDENT}{line}" for line in [command, *description]] and not dialog.below
    lines = command.split("\n")
    if any(line != line.rstrip() for line in lines):
        return False  # what a line ends in cannot be seen
    drawn = ([f" {line}".rstrip() for line in lines], [f" │ {line}".rstrip() for line in lines])
    above = [line for line in dialog.above if not _TIP.match(line)]
    return list(dialog.fenced) in drawn and above == [f" {line}" for line in description] and not dialog.below


def answerable(dialog: Dialog) -> bool:
    """Say whether a dialog that no hook told of shows all that it asks, and offers a plain yes."""
    return dialog.header == _BASH and dialog.row(YES) is not None and _CUT not in dialog.text


def shows(dialog: Dialog, ask: Ask) -> bool:
    """Say whether the dialog looks like that request's; enough to tell it from another one, not to answer it."""
    said = [*dialog.above, *(_GUTTER.sub("", line) for line in dialog.fenced or ()), *dialog.below]
    body = _squash("".join(said))
    if ask.command is not None:
        return dialog.header == _BASH and _squash(ask.command)[:500] in body
    if ask.file is not None:
        return dialog.header != _BASH and _squash(PurePath(ask.file).name) in body
    whole = _squash(dialog.header) + body + _squash(dialog.question)
    words = [_squash(word)[:60] for word in ask.words()]
    return dialog.header != _BASH and bool(words) and any(word in whole for word in words)


def _rows(lines: Sequence[str]) -> tuple[tuple[Row, ...], int]:
    """Return the choices, and the line of the first one."""
    first = next((number for number in range(len(lines) - 1, -1, -1) if _digit(lines[number]) == "1"), None)
    chosen = next((number for number in range(len(lines) - 1, -1, -1) if _CHOSEN.match(lines[number])), None)
    if first is not None and (chosen is None or chosen <= first or _digit(lines[chosen]) is not None):
        return _numbered(lines, first), first
    if chosen is None:
        return (), 0
    start = end = chosen
    indent = _CHOSEN.match(lines[chosen])["indent"] + "  "  # type: ignore[index]
    while start > 0 and _beside(lines[start - 1], indent):
        start -= 1
    while end + 1 < len(lines) and _beside(lines[end + 1], indent):
        end += 1
    rows = tuple(
        Row(line.replace("\u276f", " ", 1).strip(), chosen=number == chosen)
        for number, line in enumerate(lines[start : end + 1], start)
    )
    return (rows, start) if len(rows) >= _LEAST_ROWS else ((), 0)


def _numbered(lines: Sequence[str], first: int) -> tuple[Row, ...]:
    """Return the rows from this one on whose numbers stand below each other and follow each other."""
    rows: list[Row] = []
    column = lines[first].index("1. ")
    for line in lines[first:]:
        match = _NUMBERED.match(line)
        if match is not None and match.start("digit") == column and match["digit"] == str(len(rows) + 1):
            rows.append(Row(match["label"].strip(), match["digit"], match["sign"] is not None))
    return tuple(rows)


def _digit(line: str) -> str | None:
    match = _NUMBERED.match(line)
    return match["digit"] if match is not None else None


def _beside(line: str, indent: str) -> bool:
    """Say whether a line is a row of an unnumbered list whose labels begin after `indent`."""
    return line.startswith(indent) and line[len(indent) :][:1].strip() != ""


def _fenced(lines: Sequence[str]) -> tuple[Sequence[str], tuple[str, ...] | None, Sequence[str]]:
    """Return what stands above, between and below the outermost fences."""
    fences = [number for number, line in enumerate(lines) if _FENCE.match(line)]
    if len(fences) < 2:
        return lines, None, ()
    return lines[: fences[0]], tuple(lines[fences[0] + 1 : fences[-1]]), lines[fences[-1] + 1 :]


def _lines(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line for line in lines if line.strip())


def _unchosen(dialog: Dialog) -> tuple[object, ...]:
    return dialog.header, dialog.above, dialog.fenced, dialog.below, dialog.question, dialog.labels


def _squash(text: str) -> str:
    return "".join(text.split())
