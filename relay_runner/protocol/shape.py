"""How deep, how many and how long: the bounds of JSON that somebody else wrote, checked before it is decoded.

A decoder takes what an encoder cannot write again (it runs out of stack some levels earlier), so that one value, once
kept, would spoil every answer that it stands in. The checks are linear, and run in the interpreter's own C loops.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from relay_runner.errors import ProtocolError

MAX_DEPTH = 32
"""How many arrays and objects may stand in one another."""
MAX_VALUES = 100_000
"""How many values one text may hold, each key with its value counted once."""
MAX_DIGITS = 40
"""How many digits of a number may follow one another: a double has at most 17 that count."""
INNER_DEPTH = 24
"""The same for what is put into something larger before it goes on."""
CUT = "[left out]"
"""Stands where something was left out."""

_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * (MAX_DIGITS + 1)
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def check_shape(data: bytes | str, depth: int = MAX_DEPTH) -> None:
    """Raise `ProtocolError` for JSON that is nested too deep, holds too many values, or a number without end.

    Whether it is JSON at all is for the decoder to say.
    """
    text = data.encode("utf-8", "replace") if isinstance(data, str) else data
    opened = text.count(b"[") + text.count(b"{")
    short = len(text) <= MAX_VALUES  # a value takes a byte and what ends it
    if opened <= depth and short and _LONG_NUMBER not in text.translate(_ZEROS):
        return
    # What stands in strings counts for nothing. Pairs of backslashes go first: after them each one escapes its quote.
    text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if text.count(b'"') > 4 * MAX_VALUES:
        raise _too_many()
    outside = b"".join(text.split(b'"')[::2])
    if _LONG_NUMBER in outside.translate(_ZEROS):
        raise ProtocolError(f"a number has more than {MAX_DIGITS} digits")
    brackets = outside.translate(_SQUARE, _NOT_BRACKETS)
    if outside.count(b",") + brackets.count(b"[") > MAX_VALUES:
        raise _too_many()
    for _ in range(depth):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")  # the innermost level
    if brackets:
        raise ProtocolError(f"it is nested deeper than {depth} levels")


def pruned(value: Any, deepest: int = INNER_DEPTH) -> Any:
    """Return plain containers with what is nested too deep, or comes after too many values, left out."""
    left = MAX_VALUES

    def copied(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if not isinstance(value, dict | list | tuple):
            return value
        if depth > deepest or left < 0:
            return CUT
        if isinstance(value, dict):
            return {key: copied(one, depth + 1) for key, one in islice(value.items(), left)}
        return [copied(one, depth + 1) for one in islice(value, left)]

    return copied(value, 1)


def _too_many() -> ProtocolError:
    return ProtocolError(f"it holds more than {MAX_VALUES} values")
