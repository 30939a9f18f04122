"""Numbers are for words: newer, older, or nothing to say."""

from __future__ import annotations

import pytest

from relay_runner.providers.base.versions import Tried, Versions, version_in

VERSIONS = Versions(
    command="tool", package="@maker/tool", tried=(Tried("2.1.197", "the first"), Tried("2.1.332", "the second"))
)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("2.1.332 (Claude Code)", "2.1.332"),
        ("codex-cli 0.171.0", "0.171.0"),
        ("codex-cli 0.172.0-alpha.3", "0.172.0"),
        ("v22.4", None),
        ("version 3.4", "3.4"),
        ("port 127.0.0.1.7", None),
        ("no number", None),
        ("", None),
        ("9" * 200_000, None),
    ],
)
def test_a_version_is_found_in_what_a_program_says(said: str, version: str | None) -> None:
    assert version_in(said) == version


@pytest.mark.parametrize(
    ("version", "word"),
    [
        ("2.1.333", "newer"),
        ("2.2", "newer"),
        ("10.0.0", "newer"),
        ("2.1.196", "older"),
        ("2.1", "older"),
        ("2.1.197", None),
        ("2.1.200", None),
        ("2.1.332", None),
    ],
)
def test_only_a_version_beyond_those_tried_is_told(version: str, word: str | None) -> None:
    told = VERSIONS.beyond(version)
    expected = word and f"tool {version} is {word} than the tested versions (2.1.197, 2.1.332)"
    assert told == expected


def test_what_is_known_of_a_version_and_how_to_get_it() -> None:
    assert (VERSIONS.known("2.1.332"), VERSIONS.known("2.1.333")) == ("the second", None)
    assert VERSIONS.install == "npm install -g @maker/tool"
