"""Which versions of a program were tried, and what is known of each: for words only.

What a version can do is found by asking it. A number tells nobody that, and is never compared to decide anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = re.compile(r"(?<![\w.])\d{1,9}(?:\.\d{1,9}){1,3}(?![\w.])")


@dataclass(frozen=True, slots=True)
class Tried:
    """A version that the tests drive, and what is known of it."""

    version: str
    known: str


@dataclass(frozen=True, slots=True)
class Versions:
    """The program that a provider drives: its command, where it comes from, and its versions, oldest first."""

    command: str
    package: str
    """Its name at npm."""
    tried: tuple[Tried, ...]

    @property
    def install(self) -> str:
        """Return the line that installs it."""
        return f"npm install -g {self.package}"

    @property
    def numbers(self) -> str:
        """Return the versions that were tried, for a person."""
        return ", ".join(one.version for one in self.tried)

    def known(self, version: str) -> str | None:
        """Return what is known of a version that was tried."""
        return next((one.known for one in self.tried if one.version == version), None)

    def beyond(self, version: str) -> str | None:
        """Return one line about a version that is newer or older than all that were tried, None for any other."""
        number = _parts(version)
        if number > _parts(self.tried[-1].version):
            return f"{self.command} {version} is newer than the tested versions ({self.numbers})"
        if number < _parts(self.tried[0].version):
            return f"{self.command} {version} is older than the tested versions ({self.numbers})"
        return None


def version_in(text: str) -> str | None:
    """Return the version number in what a program says of itself, None where there is none."""
    found = _NUMBER.search(text)
    return found[0] if found else None


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
