from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.usage import Usage
from relay_runner.providers.base import ABSENT, NOT_FOUND, Limit, TurnState
from relay_runner.providers.codex import rollout


def written(tmp_path: Path, *events: dict[str, Any]) -> Path:
    file = tmp_path / "rollout.jsonl"
    lines = [{"type": "session_meta", "payload": {}}, *({"type": "event_msg", "payload": event} for event in events)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def prompt(nonce: str, turn_id: str = "t1") -> dict[str, Any]:
    return {"type": "item_completed", "turn_id": turn_id, "item": {"type": "UserMessage", "client_id": nonce}}


def end(turn_id: str = "t1", **more: Any) -> dict[str, Any]:
    return {"type": "task_complete", "turn_id": turn_id, "last_agent_message": None, **more}


def test_a_message_that_is_not_there(tmp_path: Path) -> None:
    assert rollout.find(None, "n1") is NOT_FOUND
    assert rollout.find(tmp_path / "none", "n1") is NOT_FOUND
    assert rollout.find(written(tmp_path, prompt("n2")), "n1") is ABSENT


def test_a_record_of_any_kind_that_holds_it_is_proof(tmp_path: Path) -> None:
    started, other = {"type": "task_started", "turn_id": "t1"}, {"type": "not known here", "text": "n1"}
    found = rollout.find(written(tmp_path, started, other, prompt("n2", "t2"), end(last_agent_message="done")), "n1")
    assert (found.seen, found.outcome, found.result) == (True, Outcome.COMPLETED, "done")


def test_a_turn_that_completed(tmp_path: Path) -> None:
    file = written(tmp_path, prompt("n1"), end("t0", last_agent_message="other"), end(last_agent_message="done"))
    found = rollout.find(file, "n1")
    assert (found.seen, found.turn, found.outcome, found.result) == (True, TurnState.ENDED, Outcome.COMPLETED, "done")


def test_a_turn_that_was_interrupted_or_cut_off(tmp_path: Path) -> None:
    aborted = {"type": "turn_aborted", "turn_id": "t1"}
    assert rollout.find(written(tmp_path, prompt("n1"), aborted), "n1").outcome is Outcome.INTERRUPTED
    cut = rollout.find(written(tmp_path, prompt("n1")), "n1")
    assert (cut.outcome, cut.reason) == (Outcome.INTERRUPTED, "the program ended in the middle of the turn")


def test_a_turn_that_failed_says_why(tmp_path: Path) -> None:
    error = {"message": "too long", "codex_error_info": "context_window_exceeded"}
    found = rollout.find(written(tmp_path, prompt("n1"), end(error=error)), "n1")
    assert (found.outcome, found.reason) == (Outcome.FAILED, "context-window: too long")
    coded = {"message": "no", "codex_error_info": {"http_connection_failed": {"http_status_code": 401}}}
    assert rollout.find(written(tmp_path, prompt("n1"), end(error=coded)), "n1").reason == "auth-failed: no"
    odd = {"message": "no", "codex_error_info": {"http_connection_failed": {}}}
    assert rollout.find(written(tmp_path, prompt("n1"), end(error=odd)), "n1").reason == "failed: no"


def test_a_turn_that_met_a_limit_says_so_and_until_when(tmp_path: Path) -> None:
    error = {"message": "try again in 5 minutes", "codex_error_info": "usage_limit_exceeded"}
    found = rollout.find(written(tmp_path, prompt("n1"), end(error=error, completed_at=1000)), "n1")
    assert found.limit == Limit("try again in 5 minutes", 1300.0)


def test_a_turn_says_what_it_used_alone(tmp_path: Path) -> None:
    def used(tokens: int) -> dict[str, Any]:
        total = {"input_tokens": tokens, "cached_input_tokens": 1, "output_tokens": 2}
        return {"type": "token_count", "info": {"total_token_usage": total}}

    started = {"type": "task_started"}
    file = written(
        tmp_path, started, prompt("n0", "t0"), used(100), end("t0"), {"type": "token_count", "info": None},
        started, used(130), prompt("n1"), used(150), end(),
    )  # fmt: skip
    assert rollout.used(file) == {"inputTokens": 150, "cachedInputTokens": 1, "outputTokens": 2}
    assert rollout.used(None) is rollout.used(tmp_path / "none") is None
    assert rollout.find(file, "n0").usage == Usage(input_tokens=100, cached_tokens=1, output_tokens=2)
    assert rollout.find(file, "n1").usage == Usage(input_tokens=50, cached_tokens=0, output_tokens=0)
