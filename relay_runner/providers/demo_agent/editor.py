"""The input line: bytes from the terminal in, what the person or the runner meant out. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

PASTE_BEGIN = "\x1b[200~"
PASTE_END = "\x1b[201~"


@dataclass(frozen=True, slots=True)
class Enter:
    """The line was submitted."""

    text: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Escape or Ctrl-C was pressed."""


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """Ctrl-D was pressed on an empty line."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter was typed (it is in the draft too); a question on the screen may take it for its answer."""

    letter: str


Meaning = Enter | Interrupt | EndOfInput | Letter


class Editor:
    """One input line with a draft; a paste is added to the draft, as it is in real agents."""

    def __init__(self) -> None:
        self.draft = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pasting = False
        self._rest = ""

    def feed(self, data: bytes) -> Iterator[Meaning]:
        """Take what came from the terminal, one key after the other; sequences may be cut anywhere."""
        self._rest += self._decoder.decode(data)
        found: list[Meaning] = []
        while self._rest:
            taken = self._paste() if self._pasting else self._key(found)
            yield from found
            found.clear()
            if not taken:
                return

    def quiet(self) -> Iterator[Meaning]:
        """Say that nothing more came for a moment: what looked like the start of a sequence was the Escape key."""
        if self._rest == "\x1b" and not self._pasting:
            self._rest = ""
            yield Interrupt()

    @property
    def waiting(self) -> bool:
        """Whether a lone Escape waits for `quiet`."""
        return self._rest == "\x1b" and not self._pasting

    def take(self) -> str:
        """Return the draft and empty the line."""
        draft, self.draft = self.draft, ""
        return draft

    def _paste(self) -> bool:
        text, end, rest = self._rest.partition(PASTE_END)
        if end:
            self.draft += text
            self._rest, self._pasting = rest, False
            return True
        # Keep what may be the first half of the end mark.
        keep = next((size for size in range(len(PASTE_END) - 1, 0, -1) if text.endswith(PASTE_END[:size])), 0)
        self.draft += text[: len(text) - keep]
        self._rest = text[len(text) - keep :]
        return False

    def _key(self, found: list[Meaning]) -> bool:
        text = self._rest
        if text.startswith(PASTE_BEGIN):
            self._rest, self._pasting = text[len(PASTE_BEGIN) :], True
            return True
        if text[0] == "\x1b":
            return self._escape(found)
        letter, self._rest = text[0], text[1:]
        match letter:
            case "\r" | "\n":
                found.append(Enter(self.take()))
            case "\x03":
                found.append(Interrupt())
            case "\x04" if not self.draft:
                found.append(EndOfInput())
            case "\x15":
                self.draft = ""
            case "\x7f" | "\b":
                self.draft = self.draft[:-1]
            case _ if letter.isprintable() or letter == "\t":
                self.draft += letter
                found.append(Letter(letter))
        return True

    def _escape(self, found: list[Meaning]) -> bool:
        """Drop arrow keys and the like; a lone Escape waits for `quiet`."""
        text = self._rest
        if len(text) == 1:
            return False
        if text[1] not in "[O":
            self._rest = text[1:]
            found.append(Interrupt())
            return True
        for position in range(2, len(text)):
            if "@" <= text[position] <= "~":
                self._rest = text[position + 1 :]
                return True
        return False
