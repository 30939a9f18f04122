"""Reading the demo agent's transcript and screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.permissions import Decision
from relay_runner.providers.base import (
    Evidence,
    PermissionAsked,
    PermissionClosed,
    ProcessState,
    Seen,
    StateChanged,
    TurnEnded,
    TurnState,
)
from relay_runner.providers.demo_records import SOURCE, condense, events, find, input_line
from relay_runner.terminal.base import Screen

SESSION = {"type": "session", "session": "s", "process": "p", "resumed": False}
PROMPT = {"type": "prompt", "turn": "t", "nonces": ["n1"], "text": "x"}
STARTED = {"type": "turn-started", "turn": "t", "nonces": ["n1"]}
ENDED = {"type": "turn-ended", "turn": "t", "nonces": ["n1"], "outcome": "completed", "text": "x", "reason": None}
HELPER = {"type": "subagent-started", "id": "a", "role": "demo"}
HELPED = {"type": "subagent-ended", "id": "a"}
BUSY = {"type": "state", "state": "busy", "detail": None}
CLEARED = {"type": "cleared", "next": "s2"}
IDLE = {"type": "state", "state": "idle", "detail": None}


def test_a_nonce_is_found_with_its_turn(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    assert find(file, "n1") == Evidence(seen=False)
    file.write_text("".join(json.dumps(record) + "\n" for record in (SESSION, PROMPT, STARTED)))
    assert find(file, "n1") == Evidence(True, "transcript", TurnState.RUNNING)
    assert not find(file, "n").seen
    file.write_text("".join(json.dumps(record) + "\n" for record in (SESSION, PROMPT, STARTED, ENDED)))
    assert find(file, "n1") == Evidence(True, "transcript", TurnState.ENDED, Outcome.COMPLETED, "x")


def test_a_nonce_of_an_earlier_session_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps(PROMPT) + "\n" + json.dumps(ENDED) + "\n")
    (tmp_path / "two.jsonl").write_text(json.dumps(SESSION) + "\n")
    assert find(tmp_path / "two.jsonl", "n1").outcome is Outcome.COMPLETED
    assert not find(tmp_path / "two.jsonl", "n2").seen


@pytest.mark.parametrize(
    ("records", "left"),
    [
        ([SESSION, IDLE, PROMPT, STARTED, BUSY, ENDED, IDLE], [SESSION, IDLE]),
        ([SESSION, IDLE, PROMPT, STARTED, BUSY, HELPER], [SESSION, PROMPT, STARTED, HELPER, BUSY]),
        ([SESSION, PROMPT, STARTED, HELPER, HELPED, BUSY], [SESSION, PROMPT, STARTED, BUSY]),
        ([SESSION, PROMPT, STARTED, BUSY, SESSION, IDLE], [SESSION, IDLE]),
        ([SESSION, IDLE, PROMPT], [SESSION, PROMPT]),
        ([SESSION, IDLE, CLEARED], [SESSION, CLEARED]),
    ],
)
def test_the_past_is_condensed_to_what_still_holds(records: list[dict], left: list[dict]) -> None:
    assert condense(records) == left


def test_records_become_events() -> None:
    assert events(PROMPT) == (Seen("n1", "transcript"),)
    assert events(IDLE) == (StateChanged(ProcessState.IDLE, "transcript"),)
    assert events(ENDED) == (TurnEnded(Outcome.COMPLETED, "transcript", ("n1",), "x"),)
    assert events({"type": "of a later version"}) == ()


@pytest.mark.parametrize(
    ("row", "line"),
    [("demo>", ""), ("demo> dra", "dra"), ("| working (Esc stops it)", None), ("Allow: it? [y/n]", None)],
)
def test_the_input_line_is_found(row: str, line: str | None) -> None:
    assert input_line(Screen(("above", row, ""), cursor=(6, 1))) == line
    assert input_line(Screen((), cursor=(0, 9))) is None


def test_a_question_is_open_until_somebody_answers_it() -> None:
    asked = {"type": "asked", "id": "q1", "text": "to go", "options": []}
    choice = {"type": "asked", "id": "q2", "text": "which one", "options": ["red", "blue"]}
    session = {"type": "session", "session": "s", "resumed": False}
    answered = {"type": "answered", "id": "q1", "by": "relay", "decision": "deny"}
    assert condense([session, asked, choice, answered]) == [session, choice]
    assert condense([session, choice, {"type": "withdrawn", "id": "q2"}]) == [session]
    (plain,) = events(asked)
    assert isinstance(plain, PermissionAsked) and Decision.APPROVE_SESSION in plain.decisions
    (form,) = events(choice)
    assert isinstance(form, PermissionAsked) and form.questions[0].options == ("red", "blue")
    assert events(answered) == (PermissionClosed("q1", SOURCE, decision=Decision.DENY),)
    assert events({"type": "withdrawn", "id": "q2"}) == (PermissionClosed("q2", SOURCE, answered=False),)
