from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay_runner.protocol.usage import Usage
from relay_runner.providers.codex.metering import FULL, Meter, Windows

STEPS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 50), st.booleans(), st.booleans()), max_size=20)


def report(read: int, written: int) -> dict[str, Any]:
    return {"total": {"inputTokens": read, "cachedInputTokens": 0, "outputTokens": written}}


@given(STEPS)
def test_the_turns_together_used_what_the_thread_did(steps: list[tuple[int, int, bool, bool]]) -> None:
    meter, turns, read, written = Meter(), list[Usage](), 0, 0
    meter.begin("t")
    for more_read, more_written, ends, again in steps:
        read, written = read + more_read, written + more_written
        for _ in range(1 + again):  # a report that comes twice counts once
            meter.read("t", report(read, written))
        if ends and (usage := meter.take()) is not None:
            turns.append(usage)
    if (usage := meter.take()) is not None:
        turns.append(usage)
    assert sum(turn.input_tokens or 0 for turn in turns) == read
    assert sum(turn.output_tokens or 0 for turn in turns) == written


def test_a_total_that_falls_back_was_begun_anew() -> None:
    meter = Meter()
    meter.begin("t")
    for read in (1000, 0, 300):
        meter.read("t", report(read, 0))
    assert meter.take() == Usage(input_tokens=1300, cached_tokens=0, output_tokens=0)


def test_a_thread_that_is_not_new_is_charged_from_where_it_stood() -> None:
    known, unknown = Meter(), Meter()
    known.stands("t", report(1000, 10)["total"])
    known.read("t", report(1300, 20))
    known.stands("t", report(1, 1)["total"])
    known.read("t", report(1300, 20))
    assert known.take() == Usage(input_tokens=300, cached_tokens=0, output_tokens=10)
    unknown.stands("t", None)
    unknown.read("t", {**report(1000, 10), "last": report(200, 2)["total"]}, works=False)
    assert unknown.take() is None
    unknown.read("t", {**report(1300, 20), "last": report(200, 2)["total"]})
    assert unknown.take() == Usage(input_tokens=300, cached_tokens=0, output_tokens=10)
    unknown.read("u", {**report(9000, 90), "last": report(200, 2)["total"]})
    assert unknown.take() == Usage(input_tokens=200, cached_tokens=0, output_tokens=2)


def test_sub_agents_are_paid_for_too_and_nonsense_is_nothing() -> None:
    meter = Meter()
    for thread in ("t", "agent"):
        meter.begin(thread)
        meter.read(thread, report(10, 1))
    for nonsense in (None, {}, {"total": None}, {"total": {"inputTokens": "x"}}):
        meter.read("other", nonsense)
    assert meter.take() == Usage(input_tokens=20, cached_tokens=0, output_tokens=2)
    assert meter.take() is None


@given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 2000)), max_size=4), st.integers(0, 2000))
def test_a_limit_lasts_until_the_last_full_window_ends(windows: list[tuple[int, int]], now: int) -> None:
    known = Windows()
    for number, (used, end) in enumerate(windows):
        window = {"usedPercent": used, "resetsAt": end}
        known.read({"rateLimits": {"limitId": f"l{number}", "primary": None, "secondary": window}})
    full = [end for used, end in windows if used >= FULL and end > now]
    assert known.full_until(now) == (max(full) if full else None)


def test_a_window_that_is_told_anew_is_what_it_is_now() -> None:
    known = Windows()
    for used in (100, 5):
        known.read({"rateLimits": {"limitId": "codex", "primary": {"usedPercent": used, "resetsAt": 50}}})
    known.read({"rateLimits": None})
    assert known.full_until(1.0) is None
