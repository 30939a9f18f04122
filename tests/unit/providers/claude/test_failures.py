"""Why a turn failed, which failures are limits, and when those end."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import Evidence, Limit, Seen, TurnEnded, TurnState
from relay_runner.providers.claude.failures import MAX_CHARS, Limits, reason

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC).timestamp()
GATEWAY = "API Error: 529 Overloaded. This is a server-side issue, usually temporary"


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (
            "rate_limit",
            "API Error: Request rejected (429) · slow down",
            "rate-limited: API Error: Request rejected (429)",
        ),
        ("server_error", GATEWAY, f"overloaded: {GATEWAY}"),
        ("server_error", "API Error: 500 x", "server-error: API Error: 500 x"),
        ("overloaded", None, "overloaded"),
        ("authentication_failed", "Please run /login", "auth-failed: Please run /login"),
        ("billing_error", "Credit balance is too low", "billing: Credit balance is too low"),
        ("invalid_request", "Prompt is too long", "context-window: Prompt is too long"),
        ("unknown", "You've hit your session limit · resets 3pm (UTC)", "rate-limited: You've hit your session limit"),
        ("unknown", "Claude AI usage limit reached|1795700000", "rate-limited: Claude AI usage limit reached|"),
        ("unknown", "5-hour limit reached ∙ resets 3pm", "rate-limited: 5-hour limit reached"),
        (None, None, "error"),
        ("unknown", "the limit of recursion was reached", "unknown: the limit of recursion was reached"),
    ],
)
def test_the_words_that_a_sender_is_told(kind: str | None, text: str | None, told: str) -> None:
    assert reason(kind, text).startswith(told)


def test_they_are_one_bounded_line_without_controls() -> None:
    told = reason("unknown", "a\n\x1b[2Jb" + "x" * 1000)
    assert told.startswith("unknown: a [2Jbx")
    assert len(told) <= len("unknown: ") + MAX_CHARS


def test_a_limit_ends_when_its_words_say_so() -> None:
    found = Limits().of("rate-limited: You've hit your session limit · resets 3pm (UTC)", NOW)
    assert found == Limit("You've hit your session limit · resets 3pm (UTC)", NOW + 3 * 3600)
    assert Limits().of(f"overloaded: {GATEWAY}", NOW) == Limit(GATEWAY, None)
    assert Limits().of("rate-limited", NOW) == Limit("rate-limited", None)


@pytest.mark.parametrize("why", [None, "auth-failed: x", "server-error: 500", "billing: x", "context-window: too long"])
def test_what_does_not_pass_by_itself_is_no_limit(why: str | None) -> None:
    assert Limits().of(why, NOW) is None


def test_else_it_ends_when_the_full_window_of_the_subscription_does() -> None:
    known = Limits()
    windows = {
        "five_hour": {"used_percentage": 100, "resets_at": NOW + 600},
        "seven_day": {"used_percentage": 40, "resets_at": NOW + 6000},
        "broken": "x",
    }
    known.status_line({"rate_limits": windows})
    known.status_line({})
    assert known.of("rate-limited: slow down", NOW) == Limit("slow down", NOW + 600)
    assert known.of("rate-limited: slow down", NOW + 601) == Limit("slow down", None)
    assert known.of("overloaded: 529", NOW) == Limit("529", None)


def test_only_failed_turns_meet_limits() -> None:
    known, why = Limits(), "rate-limited: 429"
    failed = TurnEnded(Outcome.FAILED, "hook", ("n1",), None, why)
    marked = known.mark(failed, NOW)
    assert isinstance(marked, TurnEnded) and marked.limit == Limit("429", None)
    for event in (Seen("n1", "x"), TurnEnded(Outcome.INTERRUPTED, "x", (), None, why)):
        assert known.mark(event, NOW) is event
    ended = Evidence(True, "transcript", TurnState.ENDED, Outcome.FAILED, None, why)
    assert known.evidence(ended, NOW).limit == Limit("429", None)
    assert known.evidence(Evidence(True), NOW) == Evidence(True)
