"""Say of an installed program how its version stands to those that were tried."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay_runner.cli import asking

if TYPE_CHECKING:
    from relay_runner.providers.base import Provider, Versions

START_S = 3.0
"""How long a start asks for the version; it is for words only, and most answer in well under a second."""


async def beyond(provider: Provider, command: Sequence[str]) -> str | None:
    """Return one line where the program that is about to start is newer or older than all that were tried."""
    versions = provider.versions
    if versions is None:
        return None
    program = shutil.which(command[0] if command else versions.command)
    if program is None:
        return None  # the start itself says so, and what to do
    said = await asking.ask(program, "--version", timeout_s=START_S)
    number = number_in(said.text)
    return versions.beyond(number) if number is not None else None


def describe(versions: Versions, text: str) -> str:
    """Return what a program says of its version, and how that stands to those that were tried."""
    number = number_in(text)
    if number is None:
        return text
    if (known := versions.known(number)) is not None:
        return f"{text}; tested: {known}"
    if (outside := versions.beyond(number)) is not None:
        return f"{text}; {outside.partition(' is ')[2]}"
    return f"{text}; tested versions: {versions.numbers}"


def number_in(text: str) -> str | None:
    """Return the version number in what a program says."""
    from relay_runner.providers.base import version_in

    return version_in(text)
