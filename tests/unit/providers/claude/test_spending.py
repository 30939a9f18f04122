"""What turns cost: each request once, subagents too, and the cost that was added since the last turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from relay_runner.protocol.usage import Usage
from relay_runner.providers.claude.spending import Spending

NOW = 1_800_000_000.0


def answer(id: str, output: int, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 100, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 1000}
    return {"type": "assistant", "message": {"id": id, "usage": {**usage, "output_tokens": output}}, **more}


def over(**more: Any) -> dict[str, Any]:
    return {"type": "system", "subtype": "turn_duration", **more}


def cost(usd: Any) -> dict[str, Any]:
    return {"cost": {"total_cost_usd": usd}}


def test_a_request_counts_once_by_its_last_line() -> None:
    spending = Spending()
    for line in (None, answer("m1", 1), answer("m1", 7), {"type": "user"}, answer("m2", 5), over()):
        spending.line(line)
    assert spending.closed
    assert spending.take(None) == Usage(input_tokens=2220, cached_tokens=2000, output_tokens=12)
    assert not spending.closed
    spending.line(answer("m2", 5))
    assert spending.take(None) is None


def test_subagents_count_with_the_turn(tmp_path: Path) -> None:
    transcript = tmp_path / "session.jsonl"
    folder = tmp_path / "session" / "subagents"
    folder.mkdir(parents=True)
    (folder / "agent-old.jsonl").write_text(json.dumps(answer("old", 9)) + "\n")
    spending = Spending()
    spending.begin(transcript)
    (folder / "agent-new.jsonl").write_text(json.dumps(answer("s1", 3, isSidechain=True)) + "\n7\n")
    spending.line(answer("m1", 4))
    assert spending.take(transcript) == Usage(input_tokens=2220, cached_tokens=2000, output_tokens=7)
    with (folder / "agent-new.jsonl").open("a") as file:
        file.write(json.dumps(answer("s2", 5)) + "\n")
    assert spending.take(transcript) == Usage(input_tokens=1110, cached_tokens=1000, output_tokens=5)


def test_a_file_that_cannot_be_read_costs_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "session" / "subagents"
    (folder / "agent-x.jsonl").mkdir(parents=True)
    spending = Spending()
    spending.line(answer("m1", 4))
    used = spending.take(tmp_path / "session.jsonl")
    assert used is not None and used.output_tokens == 4


def test_a_turn_is_charged_with_what_was_added() -> None:
    spending = Spending()
    assert not spending.priced
    spending.price(cost(0.5), NOW)
    assert spending.priced and spending.priced_at == NOW
    spending.price(cost(0.75), NOW)
    spending.line(answer("m1", 4))
    used = spending.take(None)
    assert used is not None and used.cost_usd == 0.25
    spending.price(cost(0.1), NOW)  # the session began anew
    anew = spending.take(None)
    assert anew == Usage(cost_usd=0.1)
    for nonsense in (cost("much"), cost(True), {}, {"cost": 3}):
        spending.price(nonsense, NOW)
    assert spending.take(None) is None


def test_the_models_final_word_is_enough() -> None:
    spending = Spending()
    final = answer("m1", 4)
    final["message"]["stop_reason"] = "end_turn"
    for line, closed in ((answer("m0", 1), False), (final, True), (answer("m2", 1), False)):
        spending.line(line)
        assert spending.closed is closed


def test_a_failed_request_ends_the_turn_too_and_a_pause_does_not() -> None:
    spending = Spending()
    spending.line(over(pendingBackgroundAgentCount=1))
    assert not spending.closed
    spending.line({"type": "assistant", "isApiErrorMessage": True, "message": {"id": "e", "usage": {}}})
    assert spending.closed
    spending.line({"type": "user"})
    assert not spending.closed
    assert spending.take(None) is None


def test_an_earlier_runners_turns_are_accounted_for_and_the_running_one_is_not() -> None:
    spending = Spending(recalling=True)
    for line in (answer("m1", 1), over(), answer("m2", 2)):
        spending.line(line)
    spending.recalled()
    spending.line(answer("m3", 3))
    used = spending.take(None)
    assert used is not None and used.output_tokens == 5
