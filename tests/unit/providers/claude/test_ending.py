"""How an end is explained, and what it makes of the message that was at work."""

from __future__ import annotations

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import NOT_FOUND, TurnState
from relay_runner.providers.claude.ending import explain_exit, last_evidence
from relay_runner.providers.claude.transcript import Turn
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


def test_a_turn_that_was_not_finished_was_cut_off() -> None:
    assert last_evidence(None, seen=False) == NOT_FOUND
    for evidence in (last_evidence(None, seen=True), last_evidence(Turn(), seen=True)):
        assert (evidence.turn, evidence.outcome) == (TurnState.ENDED, Outcome.FAILED)
        assert "in the middle of the turn" in str(evidence.reason)
    assert last_evidence(Turn(final=True, result="done"), seen=True).outcome is Outcome.COMPLETED
