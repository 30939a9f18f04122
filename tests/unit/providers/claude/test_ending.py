"""How an end is explained."""

from __future__ import annotations

import pytest

from relay_runner.providers.claude.ending import explain_exit
from relay_runner.terminal.base import ExitStatus, Screen


@pytest.mark.parametrize(
    ("status", "screen", "words"),
    [
        (ExitStatus(0), None, "Claude Code ended (exit code 0)"),
        (ExitStatus(-9), None, "Claude Code ended (killed by signal 9)"),
        (ExitStatus(1), Screen(lines=("one", "two")), "Claude Code ended (exit code 1): two"),
        (ExitStatus(-9), Screen(lines=("Error: old", "● high · /effort")), "Claude Code ended (killed by signal 9)"),
        (ExitStatus(143), Screen(lines=("● high · /effort",)), "Claude Code ended (exit code 143)"),
        (ExitStatus(0), Screen(lines=("bye",)), "Claude Code ended (exit code 0)"),
    ],
)
def test_an_exit_is_explained(status: ExitStatus, screen: Screen | None, words: str) -> None:
    assert explain_exit(status, screen) == words
