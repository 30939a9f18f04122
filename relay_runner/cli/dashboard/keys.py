"""What a person types at the live view: bytes of a terminal in, keys out."""

from __future__ import annotations

import codecs
from enum import Enum


class Key(Enum):
    """A key that is no character."""

    UP = "up"
    DOWN = "down"
    ENTER = "enter"
    ESCAPE = "escape"
    BACKSPACE = "backspace"


_SEQUENCES = {"[A": Key.UP, "OA": Key.UP, "[B": Key.DOWN, "OB": Key.DOWN}
_CONTROLS = {"\r": Key.ENTER, "\n": Key.ENTER, "\x7f": Key.BACKSPACE, "\x08": Key.BACKSPACE, "\x03": Key.ESCAPE}


class Decoder:
    """Turns what was read into keys; a character or a sequence may come in two reads."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> list[Key | str]:
        """Return the keys that are whole now."""
        text, keys = self._rest + self._utf8.decode(data), []
        self._rest = ""
        while text:
            if text[0] != "\x1b":
                key = _CONTROLS.get(text[0], text[0])
                if isinstance(key, Key) or key.isprintable():
                    keys.append(key)
                text = text[1:]
                continue
            size = _size(text)
            if size is None:
                self._rest = text
                break
            if size == 1:
                keys.append(Key.ESCAPE)
            elif (found := _SEQUENCES.get(text[1:size])) is not None:
                keys.append(found)
            text = text[size:]
        return keys

    def flush(self) -> list[Key | str]:
        """Return the Escape that stands alone: nothing followed it for a moment."""
        alone, self._rest = bool(self._rest), ""
        return [Key.ESCAPE] if alone else []

    @property
    def waits(self) -> bool:
        """Whether an Escape was read that may be the beginning of more."""
        return bool(self._rest)


def _size(text: str) -> int | None:
    """Return how many characters the sequence at the beginning has; 1: an Escape by itself; None: not whole yet."""
    if len(text) == 1:
        return None
    if text[1] == "O":
        return 3 if len(text) > 2 else None
    if text[1] != "[":
        return 1
    return next((at + 1 for at, char in enumerate(text[2:], 2) if "@" <= char <= "~"), None)
