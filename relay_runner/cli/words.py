"""Help that names a command's words as a person types them, not by their Python types."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand

# Typer writes a required argument as {AGENT}, one that may be left out as [[PROVIDER]], and puts <str> after both.
_AROUND = re.compile(r"^\{(.*)\}$|^\[(\[.*\])\](?:\.\.\.)?$")
# It also writes the range of a number, `[x>=0]` or `[default: 600.0; x>=0.1]`: an error says it to whom it concerns.
_RANGE = re.compile(r"\s?\[(?:[\d.]{1,32}<=)?x[<>]=[\d.]{1,32}\]|;\s(?:[\d.]{1,32}<=)?x[<>]=[\d.]{1,32}(?=\])")
_TYPE = re.compile(r" <[a-z \[\]]+>")


class NotANumber(typer.BadParameter):
    """What stands where a message's number should."""

    def format_message(self) -> str:
        """Return what a person did, without the name of the parameter."""
        return self.message


def number(text: str) -> int:
    """Read a message's number."""
    if not text.isdecimal() or int(text) < 1:
        raise NotANumber(f"{text!r} is not a message number")
    return int(text)


class PlainCommand(TyperCommand):
    """A command whose help shows the metavars alone."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        return [_AROUND.sub(r"\1\2", piece) for piece in super().collect_usage_pieces(ctx)]

    def get_help(self, ctx: Any) -> str:
        """Return the help, its columns as wide as they were."""
        return _RANGE.sub("", _TYPE.sub(lambda found: " " * len(found[0]), str(super().get_help(ctx))))
