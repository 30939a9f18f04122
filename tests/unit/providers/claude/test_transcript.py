"""What a transcript says of a message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.usage import Usage
from relay_runner.providers.base import NOT_FOUND, TurnState
from relay_runner.providers.claude.transcript import KEPT_TURNS, TAKEN_BACK, Ledger, Trace, trace


def envelope(nonce: str) -> str:
    return f'<relay-message id="1" nonce="{nonce}" from="agent:bob">\ntext\n</relay-message nonce="{nonce}">'


def user(content: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "user", "message": {"role": "user", "content": content}, **fields}


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}, **fields}


def used_tool() -> dict[str, Any]:
    return {"type": "assistant", "message": {"content": [{"type": "tool_use", "name": "Bash", "input": {}}]}}


def paused(**fields: Any) -> dict[str, Any]:
    return {"type": "system", "subtype": "turn_duration", "timestamp": "2026-11-21T01:02:42.374Z", **fields}


def told(*lines: dict[str, Any], nonce: str = "n1") -> Any:
    ledger = Ledger()
    for line in lines:
        ledger.feed(line)
    turn = ledger.turn_of(nonce)
    return turn.evidence() if turn is not None else NOT_FOUND


def test_a_completed_turn() -> None:
    evidence = told(user(envelope("n1")), used_tool(), user([{"type": "tool_result"}]), said("done"), paused())
    assert (evidence.seen, evidence.turn, evidence.outcome) == (True, TurnState.ENDED, Outcome.COMPLETED)
    assert evidence.result == "done"


def test_a_turn_that_goes_on() -> None:
    assert told(user(envelope("n1")), said("first")).turn is TurnState.RUNNING


def test_content_in_blocks() -> None:
    assert told(user([{"type": "text", "text": envelope("n1")}])).seen


def test_what_is_queued_was_not_seen() -> None:
    queued = {"type": "queue-operation", "operation": "enqueue", "content": envelope("n1")}
    assert told(queued) == NOT_FOUND
    assert told(queued, {"type": "queue-operation", "operation": "dequeue"}, user(envelope("n1"))).seen


def test_a_steered_message_shares_the_turn() -> None:
    steered = {"type": "attachment", "attachment": {"type": "queued_command", "prompt": envelope("n2")}}
    lines = (user(envelope("n1")), used_tool(), steered, said("both"), paused())
    assert told(*lines).result == told(*lines, nonce="n2").result == "both"


def test_an_interrupted_turn() -> None:
    evidence = told(
        user(envelope("n1")), said("half"), user([{"type": "text", "text": "[Request interrupted by user]"}])
    )
    assert (evidence.outcome, evidence.result) == (Outcome.INTERRUPTED, None)


def test_an_interrupt_in_a_tool() -> None:
    assert told(user(envelope("n1")), user("[Request interrupted by user for tool use]")).outcome is Outcome.INTERRUPTED


def test_an_api_error() -> None:
    error = said("API Error: 429", isApiErrorMessage=True, error="rate_limit")
    evidence = told(user(envelope("n1")), error, paused())
    assert (evidence.outcome, evidence.reason) == (Outcome.FAILED, "rate-limited: API Error: 429")


def test_an_error_that_was_overcome() -> None:
    error = said("API Error: 529", isApiErrorMessage=True, error="overloaded")
    assert told(user(envelope("n1")), error, said("after all"), paused()).outcome is Outcome.COMPLETED


def test_a_background_agent_holds_the_turn() -> None:
    lines = [user(envelope("n1")), said("started"), paused(pendingBackgroundAgentCount=1)]
    assert told(*lines).turn is TurnState.RUNNING
    lines += [user("<task-notification>done</task-notification>"), said("all done"), paused()]
    assert told(*lines).result == "all done"


def test_the_next_prompt_shows_that_a_turn_was_cut_off() -> None:
    lines = (user(envelope("n1")), used_tool(), user(envelope("n2")), said("two"), paused())
    assert told(*lines).outcome is Outcome.FAILED
    assert told(*lines, nonce="n2").result == "two"


def test_a_prompt_that_was_taken_back_is_told_from_one_that_goes_on() -> None:
    """Both are followed by another prompt; only one that the next one replaces was taken back."""
    first = user(envelope("n1"), uuid="u1", parentUuid="u0")
    answer = (said("two"), paused())
    replaced = (first, user(envelope("n2"), uuid="u2", parentUuid="u0"), *answer)
    assert (told(*replaced).outcome, told(*replaced).reason) == (Outcome.INTERRUPTED, TAKEN_BACK)
    followed = (first, user(envelope("n2"), uuid="u2", parentUuid="u1"), *answer)
    assert told(*followed).result == told(*replaced, nonce="n2").result == "two"


def test_a_turn_whose_last_line_was_never_written() -> None:
    """The program was ended right after the answer."""
    final = {"type": "assistant", "message": {"content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn"}}
    ledger = Ledger()
    for line in (user(envelope("n1")), final):
        ledger.feed(line)
    turn = ledger.turn_of("n1")
    assert turn is not None
    assert turn.evidence().turn is TurnState.RUNNING
    assert (turn.cut_off("x").outcome, turn.cut_off("x").result) == (Outcome.COMPLETED, "done")
    ledger.feed(used_tool())
    assert (turn.cut_off("x").outcome, turn.cut_off("x").reason) == (Outcome.FAILED, "x")


def test_prompts_that_went_in_together_share_the_turn() -> None:
    lines = (user(envelope("n1")), user(envelope("n2")), said("both"), paused())
    assert told(*lines).result == told(*lines, nonce="n2").result == "both"


def test_subagents_notes_and_noise_are_passed_over() -> None:
    lines = (
        user(envelope("n1")),
        user("a note", isMeta=True),
        said("inner", isSidechain=True),
        {"type": "summary"},
        {"type": "attachment", "attachment": None},
        said("outer"),
        paused(),
    )
    assert told(*lines).result == "outer"


def test_a_nonce_that_the_model_or_a_tool_wrote_counts_for_nothing() -> None:
    result = [{"type": "tool_result", "content": envelope("n1")}]
    assert told(user("x"), said(envelope("n1")), user(result)) == NOT_FOUND


def test_lines_that_are_no_objects_are_passed_over() -> None:
    ledger = Ledger()
    for line in ("text", 1, None, [], {}, {"type": "user"}, {"type": "user", "message": {"content": 3}}):
        assert ledger.feed(line) == ()


def test_old_turns_are_forgotten() -> None:
    ledger = Ledger()
    for number in range(KEPT_TURNS + 10):
        ledger.feed(user(envelope(f"n{number}")))
        ledger.feed(paused())
    assert ledger.turn_of("n0") is None
    assert ledger.turn_of(f"n{KEPT_TURNS + 9}") is not None


def test_a_file_is_read_from_its_start(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    lines = (user(envelope("n1")), said("done"), paused())
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"half')
    turn = trace(file, "n1").turn
    assert turn is not None
    assert turn.evidence().result == "done"
    assert trace(file, "n2") == Trace()
    assert trace(tmp_path / "none.jsonl", "n1") == Trace()


def test_an_ended_turn_tells_what_its_requests_used() -> None:
    def answer(id: str, output: int, **more: Any) -> dict[str, Any]:
        usage = {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": output}
        return {"type": "assistant", "message": {"id": id, "content": [], "usage": usage}, **more}

    ledger = Ledger()
    prompt = {"type": "user", "message": {"content": '<relay-message id="1" nonce="n1" from="a">'}}
    for line in (prompt, answer("m1", 1), answer("m1", 3), answer("m2", 4), answer("e", 99, isApiErrorMessage=True)):
        ledger.feed(line)
    turn = ledger.turn_of("n1")
    assert turn is not None and turn.evidence().usage is None
    used = Usage(input_tokens=30, cached_tokens=10, output_tokens=7)
    assert turn.cut_off("x").usage == used
    ledger.feed({"type": "system", "subtype": "turn_duration"})
    assert turn.evidence().usage == used


def test_an_answer_that_was_written_before_its_prompt_is_of_that_prompt() -> None:
    """Seen on a busy machine in a file that was just created (2.1.197)."""

    def at(second: int, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "timestamp": f"2026-11-26T20:08:{second:02}Z", **fields}

    def answer(second: int, text: str) -> dict[str, Any]:
        content = [{"type": "text", "text": text}]
        return at(second, "assistant", message={"id": text, "content": content, "usage": {"output_tokens": 7}})

    def prompt(second: int, nonce: str) -> dict[str, Any]:
        return at(second, "user", message={"content": f'<relay-message id="1" nonce="{nonce}" from="a">'})

    ledger = Ledger()
    over = {"type": "system", "subtype": "turn_duration"}
    for line in (answer(2, "hello"), prompt(1, "n1"), over, answer(3, "late"), prompt(4, "n2"), answer(5, "two"), over):
        ledger.feed(line)
    one, two = ledger.turn_of("n1"), ledger.turn_of("n2")
    assert one is not None and two is not None
    assert (one.outcome, one.result, two.result) == (Outcome.COMPLETED, "hello", "two")
    assert list(one.calls) == ["hello"] and list(two.calls) == ["two"]
