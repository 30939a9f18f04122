"""A small terminal emulator for the pty, where no tmux keeps the screen.

It knows what line-oriented programs and plain full-screen programs use: printing, wrapping, scrolling, moving the
cursor, erasing, inserting and deleting, the alternate screen, the title, bracketed paste, dim and reversed text. It
does not know: colours, character sets, scroll regions, tab stops of one's own, origin mode, combining marks (dropped).
Pure: text in, screen out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from relay_runner.terminal.base import Screen, Style
from relay_runner.terminal.screen import restyled

# One step of the output: a control sequence, a string (title and the like), another escape, a control, plain text.
_STEP = re.compile(
    r"\x1b\[(?P<private>[<=>?]?)(?P<numbers>[0-9;:]*)[ -/]*(?P<final>[@-~])"
    r"|\x1b\](?P<string>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b(?P<escape>[ -/]*[0-OQ-WYZ\\`a-~])"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f])"
    r"|(?P<text>[^\x00-\x1f\x7f]+)"
)
# A sequence of which the end has not come yet.
_BEGUN = re.compile(r"\x1b(?:\[[<=>?]?[0-9;:]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)")
_LONGEST_STEP = 8192
_TAB = 8
_Cell = tuple[str, Style]
"""A character (none in the second column of a wide one), and how it is drawn."""
_BLANK: _Cell = (" ", Style(0))


class Emulator:
    """Feed it what a program prints, ask it what a person would see."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.title = ""
        self.bracketed_paste = False
        """Whether the program asked for brackets around pastes."""
        self._rows = self._blank()
        self._column = 0
        self._row = 0
        self._saved = (0, 0)
        self._main: list[list[_Cell]] | None = None
        self._style = Style(0)
        self._rest = ""
        self._moves: dict[str, Callable[[list[int]], None]] = {
            "A": lambda n: self._go(self._column, self._row - (n[0] or 1)),
            "B": lambda n: self._go(self._column, self._row + (n[0] or 1)),
            "C": lambda n: self._go(self._column + (n[0] or 1), self._row),
            "D": lambda n: self._go(self._column - (n[0] or 1), self._row),
            "E": lambda n: self._go(0, self._row + (n[0] or 1)),
            "F": lambda n: self._go(0, self._row - (n[0] or 1)),
            "G": lambda n: self._go((n[0] or 1) - 1, self._row),
            "d": lambda n: self._go(self._column, (n[0] or 1) - 1),
            "H": lambda n: self._go((n[1] or 1) - 1, (n[0] or 1) - 1),
            "f": lambda n: self._go((n[1] or 1) - 1, (n[0] or 1) - 1),
            "J": lambda n: self._erase_screen(n[0]),
            "K": lambda n: self._erase_line(n[0]),
            "L": lambda n: self._insert_rows(n[0] or 1),
            "M": lambda n: self._delete_rows(n[0] or 1),
            "@": lambda n: self._shift(n[0] or 1),
            "P": lambda n: self._shift(-(n[0] or 1)),
            "X": lambda n: self._put_blanks(self._column, self._column + (n[0] or 1)),
        }

    def feed(self, text: str) -> None:
        """Take the next piece of output; a sequence may be cut anywhere."""
        text = self._rest + text
        position = 0
        while position < len(text):
            step = _STEP.match(text, position)
            if step is None:
                if len(text) - position < _LONGEST_STEP and _BEGUN.fullmatch(text, position):
                    break
                position += 1  # no sequence, or one that never ends: leave the escape out
                continue
            self._step(step)
            position = step.end()
        self._rest = text[position:]

    def screen(self, *, dead: bool = False) -> Screen:
        """Return what is on the screen now."""
        lines = tuple("".join(letter for letter, _ in row).rstrip() for row in self._rows)
        styles = tuple(
            bytes(style for letter, style in row if letter)[: len(line)].rstrip(b"\0")
            for row, line in zip(self._rows, lines, strict=True)
        )
        cursor = (min(self._column, self.width - 1), self._row)
        return Screen(lines, self.title, cursor, dead=dead, styles=styles)

    def _step(self, step: re.Match[str]) -> None:
        if step["text"]:
            self._print(step["text"])
        elif step["control"]:
            self._control(step["control"])
        elif step["final"]:
            self._sequence(step["private"], step["numbers"], step["final"])
        elif step["string"]:
            kind, _, value = step["string"].partition(";")
            if kind in ("0", "2"):
                self.title = value
        elif step["escape"] in ("7", "8", "D", "E", "M", "c"):
            self._escape(step["escape"])

    def _print(self, text: str) -> None:
        for letter in text:
            if unicodedata.combining(letter):
                continue
            wide = unicodedata.east_asian_width(letter) in "WF"
            if self._column + wide >= self.width:
                self._column = 0
                self._down()
            row = self._rows[self._row]
            row[self._column] = (letter, self._style)
            if wide:
                row[self._column + 1] = ("", self._style)
            self._column += 1 + wide

    def _control(self, control: str) -> None:
        match control:
            case "\r":
                self._column = 0
            case "\n" | "\v" | "\f":
                self._down()
            case "\b":
                self._column = max(0, min(self._column, self.width - 1) - 1)
            case "\t":
                self._column = min(self.width - 1, (self._column // _TAB + 1) * _TAB)

    def _escape(self, letter: str) -> None:
        match letter:
            case "7":
                self._saved = (self._column, self._row)
            case "8":
                self._go(*self._saved)
            case "M" if self._row > 0:
                self._row -= 1
            case "M":
                self._rows = [self._blank_row(), *self._rows[:-1]]
            case "D" | "E":
                self._column = 0 if letter == "E" else self._column
                self._down()
            case "c":
                self._rows, self._column, self._row, self.bracketed_paste = self._blank(), 0, 0, False
                self._style = Style(0)

    def _sequence(self, private: str, numbers: str, final: str) -> None:
        if private == "?" and final in "hl":
            for number in numbers.split(";"):
                self._mode(number, final == "h")
        elif private:
            return
        elif final == "m":
            self._style = restyled(self._style, numbers)
        elif final in self._moves:
            values = [int(number) if number.isdigit() else 0 for number in numbers.split(";")]
            self._moves[final]([*values, 0])
        elif final in "su":
            self._escape("7" if final == "s" else "8")

    def _mode(self, number: str, on: bool) -> None:
        if number == "2004":
            self.bracketed_paste = on
        elif number in ("47", "1047", "1049"):
            if on and self._main is None:
                self._saved = (self._column, self._row)
                self._main, self._rows = self._rows, self._blank()
            elif not on and self._main is not None:
                self._rows, self._main = self._main, None
                self._go(*self._saved)

    def _down(self) -> None:
        if self._row < self.height - 1:
            self._row += 1
        else:
            self._rows = [*self._rows[1:], self._blank_row()]

    def _go(self, column: int, row: int) -> None:
        self._column = max(0, min(self.width - 1, column))
        self._row = max(0, min(self.height - 1, row))

    def _erase_screen(self, how: int) -> None:
        if how == 0:
            self._put_blanks(self._column, self.width)
            gone = range(self._row + 1, self.height)
        elif how == 1:
            self._put_blanks(0, self._column + 1)
            gone = range(self._row)
        else:
            gone = range(self.height)
        for row in gone:
            self._rows[row] = self._blank_row()

    def _erase_line(self, how: int) -> None:
        start = self._column if how == 0 else 0
        self._put_blanks(start, self._column + 1 if how == 1 else self.width)

    def _put_blanks(self, start: int, end: int) -> None:
        row = self._rows[self._row]
        for column in range(min(start, self.width), min(end, self.width)):
            row[column] = _BLANK

    def _insert_rows(self, count: int) -> None:
        blank = [self._blank_row() for _ in range(min(count, self.height))]
        self._rows = [*self._rows[: self._row], *blank, *self._rows[self._row :]][: self.height]

    def _delete_rows(self, count: int) -> None:
        rest = [*self._rows[: self._row], *self._rows[self._row + count :]]
        self._rows = [*rest, *(self._blank_row() for _ in range(self.height - len(rest)))]

    def _shift(self, by: int) -> None:
        row, column = self._rows[self._row], self._column
        rest = [_BLANK] * by + row[column:] if by > 0 else row[column - by :]
        self._rows[self._row] = [*row[:column], *rest, *self._blank_row()][: self.width]

    def _blank(self) -> list[list[_Cell]]:
        return [self._blank_row() for _ in range(self.height)]

    def _blank_row(self) -> list[_Cell]:
        return [_BLANK] * self.width
