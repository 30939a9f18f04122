"""What a dead Claude Code's records make of a message: each record that it may have left, and what follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import ABSENT, NOT_FOUND, TurnState
from relay_runner.providers.claude.evidence import BEFORE_IT_SENT_S, of_dead
from relay_runner.providers.claude.transcript import Trace, Turn, trace

AT = 1_800_000_000.0
NEVER = float("-inf")
TEXT = '<relay-message id="1" nonce="n1" from="agent:bob">\nx\n</relay-message nonce="n1">'
OTHER = TEXT.replace("n1", "n0")
TAKEN = {"type": "queue-operation", "operation": "enqueue", "content": TEXT}
USER = {"type": "user", "message": {"role": "user", "content": TEXT}, "timestamp": "2027-01-15T08:00:00Z"}
ABSORBED = {"type": "attachment", "attachment": {"type": "queued_command", "prompt": TEXT}}
REMOVED = {"type": "queue-operation", "operation": "remove", "reason": "absorbed_mid_turn", "content": TEXT}
BLOB = {"type": "api-request-blob", "message": {"role": "user", "content": [{"type": "text", "text": TEXT}]}}
SAID = {"type": "assistant", "message": {"stop_reason": "end_turn", "content": [{"type": "text", "text": "hi"}]}}


def asked(at: str) -> dict[str, Any]:
    return {"type": "api-request", "querySource": "repl_main_thread", "timestamp": at}


def left(tmp_path: Path, *lines: dict[str, Any], rest: str = "") -> Trace:
    file = tmp_path / "session.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + rest)
    return trace(file, "n1")


def test_what_is_in_the_conversation_was_seen(tmp_path: Path) -> None:
    for lines, outcome in (
        ((USER,), Outcome.FAILED),
        ((ABSORBED,), Outcome.FAILED),
        ((BLOB,), Outcome.FAILED),
        ((TAKEN, REMOVED, ABSORBED, SAID), Outcome.COMPLETED),
    ):
        found = of_dead(left(tmp_path, *lines), None, NEVER, AT)
        assert (found.seen, found.turn, found.outcome) == (True, TurnState.ENDED, outcome)
    assert of_dead(Trace(turn=Turn()), None, NEVER, AT).reason == "the program ended in the middle of the turn"


def test_what_waited_in_a_dead_programs_queue_never_entered(tmp_path: Path) -> None:
    for told_at in (None, AT - 3600, AT):
        assert of_dead(left(tmp_path, TAKEN), told_at, AT, AT) == ABSENT
    other = {**TAKEN, "content": OTHER}
    removed = {**REMOVED, "content": OTHER}
    assert left(tmp_path, other, TAKEN, removed).waiting, "another one left the queue"
    for gone in ({"type": "queue-operation", "operation": "dequeue"}, REMOVED):
        assert not left(tmp_path, TAKEN, gone).waiting


def test_no_record_and_no_hook_is_no_trace(tmp_path: Path) -> None:
    assert of_dead(left(tmp_path, {"type": "mode"}), None, NEVER, AT) == NOT_FOUND
    assert of_dead(trace(tmp_path / "none.jsonl", "n1"), None, NEVER, AT) == NOT_FOUND


def test_what_a_hook_told_and_no_record_holds_never_entered(tmp_path: Path) -> None:
    before = asked("2027-01-15T07:59:59Z")
    for lines in ((), (before,), (TAKEN, REMOVED)):
        assert of_dead(left(tmp_path, *lines), AT, AT - 1, AT + BEFORE_IT_SENT_S / 2) == ABSENT


@pytest.mark.parametrize(
    ("lines", "worked_at", "now"),
    [
        ((), AT + 0.01, AT + 0.02),
        ((asked("2027-01-15T08:00:00.01Z"),), NEVER, AT + 0.02),
        (({**SAID, "timestamp": "2027-01-15T08:00:00.01Z"},), NEVER, AT + 0.02),
        ((), NEVER, AT + 2 * BEFORE_IT_SENT_S),
    ],
    ids=["a hook showed work", "a request was written down", "its model had answered", "it lived on"],
)
def test_where_its_model_may_have_begun_nobody_can_know(
    tmp_path: Path, lines: tuple[dict[str, Any], ...], worked_at: float, now: float
) -> None:
    found = of_dead(left(tmp_path, *lines), AT, worked_at, now)
    assert (found.seen, found.unsure, found.absent) == (False, True, False)


def test_a_trace_in_a_strange_place_proves_nothing(tmp_path: Path) -> None:
    agents = tmp_path / "session" / "subagents"
    agents.mkdir(parents=True)
    assert of_dead(left(tmp_path, {"type": "last-prompt", "prompt": TEXT}), None, NEVER, AT).unsure
    assert of_dead(left(tmp_path, rest=json.dumps(USER)[:-5]), AT, NEVER, AT).unsure
    (agents / "agent-a.jsonl").write_text(json.dumps(USER))
    assert of_dead(left(tmp_path), AT, NEVER, AT).unsure
