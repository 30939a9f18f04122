"""What became of a message: one state, one outcome, one exit code."""

from __future__ import annotations

from typing import Any

import pytest

from relay_runner.cli import verdict
from relay_runner.cli.exits import Exit
from relay_runner.protocol.messages import Delivery, Message, MessageRecord, Outcome, State
from relay_runner.protocol.usage import Usage

NOBODY: frozenset[str] = frozenset()


def record(*deliveries: dict[str, Any]) -> MessageRecord:
    return MessageRecord(
        message=Message(id=41, sender="person:a", to="agent:bob", body="x", created_at=0.0, expires_at=9.0),
        deliveries=tuple(
            Delivery(message_id=41, **{"recipient": f"agent:bob{number}", **fields})
            for number, fields in enumerate(deliveries)
        ),
    )


DONE = {"state": State.DONE, "outcome": Outcome.COMPLETED}


@pytest.mark.parametrize(
    ("deliveries", "settled", "code", "state"),
    [
        ([{}], False, Exit.TIMED_OUT, "queued"),
        ([{"state": State.SEEN}], False, Exit.TIMED_OUT, "seen"),
        ([{"state": State.SUBMITTED}], False, Exit.TIMED_OUT, "submitted"),
        ([{"state": State.SUBMITTED, "evidence": "unproven"}], True, Exit.OK, "submitted"),
        ([DONE], True, Exit.OK, "done"),
        ([{"state": State.DONE, "outcome": Outcome.FAILED}], True, Exit.FAILED, "done"),
        ([{"state": State.DONE, "outcome": Outcome.BLOCKED}], True, Exit.FAILED, "done"),
        ([{"state": State.DONE, "outcome": Outcome.INTERRUPTED}], True, Exit.INTERRUPTED, "done"),
        ([{"state": State.DEAD}], True, Exit.FAILED, "dead"),
        ([{"state": State.UNKNOWN}], True, Exit.UNKNOWN, "unknown"),
        ([DONE, {"state": State.SEEN}], False, Exit.TIMED_OUT, "seen"),
        ([DONE, {"state": State.UNKNOWN}], True, Exit.UNKNOWN, "unknown"),
        ([{"state": State.DEAD}, {"state": State.UNKNOWN}, DONE], True, Exit.FAILED, "dead"),
        ([], False, Exit.TIMED_OUT, "queued"),
    ],
)
def test_the_worst_delivery_decides(deliveries: list[dict[str, Any]], settled: bool, code: Exit, state: str) -> None:
    found = record(*deliveries)
    assert verdict.settled(found) is settled
    assert verdict.exit_code(found) is code
    assert verdict.state(found) == state


def test_a_person_has_no_turn_and_is_done_with_a_reply() -> None:
    found = record({"recipient": "person:alice"})
    assert not verdict.settled(found)
    assert verdict.settled(found, frozenset({"person:alice"}))
    assert verdict.exit_code(found, frozenset({"person:alice"})) is Exit.OK


def test_a_reply_does_not_end_an_agent_s_turn() -> None:
    assert not verdict.settled(record({"state": State.SEEN}), frozenset({"agent:bob0"}))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"state": State.SUBMITTED, "evidence": "unproven"}, "bob0: submitted (unproven)"),
        ({"state": State.DONE, "outcome": Outcome.INTERRUPTED, "reason": "interrupted"}, "bob0: done (interrupted)"),
        ({"state": State.DONE, "outcome": Outcome.FAILED, "reason": "no money"}, "bob0: done (failed), no money"),
    ],
)
def test_nothing_is_said_twice(fields: dict[str, Any], said: str) -> None:
    assert verdict.describe(record(fields).deliveries[0]) == said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "bob0 has not taken message 41 yet"),
        ({"held": "a typed line"}, "bob0 has not taken message 41 yet (a typed line)"),
        ({"recipient": None}, "nobody has taken message 41 yet"),
        ({"state": State.CLAIMED}, "message 41 is on its way into bob0"),
        ({"state": State.SUBMITTING}, "message 41 is on its way into bob0"),
        ({"state": State.SUBMITTED}, "bob0 has message 41, and has not shown yet that it saw it"),
        ({"state": State.SUBMITTED, "evidence": "unproven"}, None),
        ({"state": State.SEEN}, "bob0 has seen message 41 and works on it"),
        (
            {"state": State.SEEN, "held": "rate-limited until 3pm"},
            "bob0 has seen message 41 and goes on with it later (rate-limited until 3pm)",
        ),
        ({"recipient": "person:al"}, "person:al has not answered message 41"),
        (DONE, None),
        ({"state": State.DEAD}, None),
    ],
)
def test_how_far_it_is_is_said_in_words(fields: dict[str, Any], said: str | None) -> None:
    assert verdict.progress(record(fields).deliveries[0]) == said


def test_results_of_several_turns_stand_apart() -> None:
    assert verdict.result(record(DONE)) is None
    assert verdict.result(record({**DONE, "result": "one"}, {**DONE, "result": "two"})) == "one\n\ntwo"
    assert verdict.result(record({**DONE, "result": ""})) == ""


def test_the_worst_outcome_is_told() -> None:
    turns = [{"state": State.DONE, "outcome": one} for one in (Outcome.COMPLETED, Outcome.INTERRUPTED)]
    assert verdict.outcome(record(*turns)) is Outcome.INTERRUPTED
    assert verdict.outcome(record(*turns, {"state": State.DONE, "outcome": Outcome.FAILED})) is Outcome.FAILED
    assert verdict.outcome(record({})) is None


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"recipient": "agent:bob", **DONE}, "bob: done (completed)"),
        ({"recipient": "agent:bob", "state": State.DEAD, "reason": "expired"}, "bob: dead, expired"),
        ({"recipient": "agent:bob", "held": "person typing"}, "bob: queued, held: person typing"),
        ({"recipient": None}, "(nobody yet): queued"),
        ({"recipient": "person:al"}, "person:al: queued"),
    ],
)
def test_a_delivery_in_one_line(fields: dict[str, Any], line: str) -> None:
    assert verdict.describe(Delivery(message_id=1, **fields)) == line


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (None, None),
        (Usage(), None),
        (Usage(input_tokens=1000, cached_tokens=500, output_tokens=10), "1000 tokens in (500 cached), 10 out"),
        (Usage(input_tokens=7, cost_usd=0.25), "7 tokens in, 0.25 USD"),
    ],
)
def test_what_was_used_is_said_in_words(usage: Usage | None, said: str | None) -> None:
    assert verdict.used(Delivery(message_id=1, recipient=None, usage=usage)) == said


def test_what_else_was_in_the_turn_is_said_in_words() -> None:
    assert verdict.shared(Delivery(message_id=1, recipient=None)) is None
    assert verdict.shared(Delivery(message_id=1, recipient=None, carried=(1, 2, 5))) == "message 2, message 5"


def test_the_json_shape_is_stable() -> None:
    reply = MessageRecord(
        message=Message(id=42, sender="agent:bob", to="person:a", body="yes", created_at=1.0, expires_at=9.0)
    )
    usage = Usage(input_tokens=9, output_tokens=1)
    ended = {**DONE, "recipient": "agent:bob", "result": "said yes", "evidence": "transcript", "usage": usage}
    found = record({**ended, "carried": (41, 43)})
    assert verdict.as_json(found, [reply]) == {
        "id": 41,
        "to": "agent:bob",
        "state": "done",
        "outcome": "completed",
        "result": {"text": "said yes"},
        "reply": {"id": 42, "from": "agent:bob", "body": "yes"},
        "replies": [{"id": 42, "from": "agent:bob", "body": "yes"}],
        "taskId": None,
        "deliveries": [
            {
                "recipient": "agent:bob",
                "state": "done",
                "outcome": "completed",
                "evidence": "transcript",
                "held": None,
                "reason": None,
                "result": {"text": "said yes"},
                "carried": [41, 43],
                "usage": {"inputTokens": 9, "cachedTokens": None, "outputTokens": 1, "costUsd": None},
            }
        ],
    }
    bare = verdict.as_json(record({}), [])
    assert (bare["result"], bare["reply"], bare["outcome"], bare["replies"]) == (None, None, None, [])
