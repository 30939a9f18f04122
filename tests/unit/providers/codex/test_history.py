from __future__ import annotations

from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import Evidence, Limit, TurnState
from relay_runner.providers.codex import history


def turn(status: str = "completed", **more: Any) -> dict[str, Any]:
    items = [
        {"type": "userMessage", "clientId": "n1"},
        {"type": "agentMessage", "text": "working"},
        {"type": "userMessage", "clientId": None},
        {"type": "agentMessage", "text": "done"},
    ]
    return {"id": "t1", "status": status, "items": items, "error": None, **more}


def test_what_a_turn_carried_and_said() -> None:
    assert history.nonces(turn()) == ("n1",)
    assert history.result(turn()) == "done"
    assert history.result({"items": []}) is None


def test_the_evidence_of_a_message() -> None:
    ended = Evidence(True, "thread", TurnState.ENDED, Outcome.COMPLETED, "done", carried=("n1",), by_hand=True)
    assert history.evidence([turn()], "n1") == ended
    assert history.evidence([turn()], "other") is None
    running = history.evidence([turn("inProgress")], "n1")
    assert running == Evidence(True, "thread", TurnState.RUNNING, carried=("n1",), by_hand=True)


def test_all_that_a_turn_carried_is_told() -> None:
    items = [{"type": "userMessage", "clientId": nonce} for nonce in ("n1", "n2")]
    both = history.of_turn(turn(items=items))
    assert (both.carried, both.by_hand) == (("n1", "n2"), False)


def test_only_a_completed_turn_has_a_result() -> None:
    interrupted = history.of_turn(turn("interrupted"))
    assert (interrupted.outcome, interrupted.result) == (Outcome.INTERRUPTED, None)
    failed = history.of_turn(turn("failed", error={"message": "no", "codexErrorInfo": "contextWindowExceeded"}))
    assert (failed.outcome, failed.result, failed.reason) == (Outcome.FAILED, None, "context-window: no")


def test_a_turn_that_met_a_limit_says_so_and_until_when() -> None:
    error = {"message": "try again in 5 minutes", "codexErrorInfo": "usageLimitExceeded"}
    found = history.of_turn(turn("failed", error=error, completedAt=1000))
    assert found.limit == Limit("try again in 5 minutes", 1300.0)
    blocked = {"message": "Missing environment variable: `K`.", "codexErrorInfo": "other"}
    assert history.of_turn(turn("failed", error=blocked)).outcome is Outcome.BLOCKED


def test_what_was_asked_in_passing_stands_before_the_last_word() -> None:
    said = [
        {"text": "working on it"},
        {"text": "Which color?\n- Red", "delivery": "async"},
        {"text": "done", "delivery": None},
    ]
    assert history.final(said) == "Which color?\n- Red\n\ndone"
    assert history.final(said[:2]) == "Which color?\n- Red"
    assert history.final([]) is None
