"""How values become bytes: JSON objects with camelCase names, through msgspec.

Unknown fields are ignored (a newer peer may send more), a wrong type is a `ProtocolError`. Every field is written, also
one that holds its default: who reads the JSON finds the same shape each time.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from relay_runner.errors import ProtocolError
from relay_runner.protocol.shape import check_shape

PROTOCOL_VERSION = 1

T = TypeVar("T")


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of every value that crosses a process boundary."""


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""Any escape of a JSON string; group 1 is half of a character without its other half."""

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """Return `value` (a `Wire`, or plain containers of them) as UTF-8 JSON; raise `ProtocolError` where it has no form.

    A string may hold what no text does: a folder's name, say, whose bytes are no UTF-8.
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError as error:
        found = ascii(error.object[max(0, error.start - 20) : error.end + 20])
        raise ProtocolError(f"{found} is no text, and cannot be told to anybody") from error
    except RecursionError as error:
        raise ProtocolError("the value is nested too deep") from error


def decode(data: bytes | str, type_: type[T]) -> T:
    """Return `data` as a `type_`; raise `ProtocolError` where it is not one."""
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a valid {getattr(type_, '__name__', type_)}: {error}") from error


def admit(data: bytes | str, type_: type[T]) -> T:
    """Return what a stranger sent as a `type_`; raise `ProtocolError` where it is not one, or has no bounds."""
    check_shape(data)
    return decode(data, type_)


def decode_each(data: bytes, type_: type[T]) -> tuple[list[T], list[ProtocolError]]:
    """Return the elements of a list that are `type_`, and what is wrong with the others: one spoils no other."""
    try:
        return decode(data, list[type_]), []  # type: ignore[valid-type]
    except ProtocolError:
        found: list[T] = []
        errors: list[ProtocolError] = []
        for one in decode(data, list[msgspec.Raw]):
            try:
                found.append(decode(bytes(one), type_))
            except ProtocolError as error:
                errors.append(error)
        return found, errors


def decode_foreign(data: bytes) -> Any:
    """Return the JSON that a program which is not ours wrote; raise `ProtocolError` where it is none.

    JavaScript cuts strings between the halves of a character, and writes the half as `\\ud83d`, which no text may hold:
    it becomes a question mark.
    """
    try:
        return msgspec.json.decode(data)
    except RecursionError as error:
        raise ProtocolError("it is nested too deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return decode(_ESCAPE.sub(lambda found: b"?" if found[1] else found[0], data), object)


def convert(value: Any, type_: type[T]) -> T:
    """Return plain containers as a `type_`; raise `ProtocolError` where they are not one."""
    try:
        return msgspec.convert(value, type=type_)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"not a valid {getattr(type_, '__name__', type_)}: {error}") from error
