from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay_runner.providers.base import Limit
from relay_runner.runner.limits import HELD, LEAST_S, MOST_S, UNTOLD_MOST_S, Hold, Limits

NOW = 1_795_000_000.0
TIMES = st.floats(-1e8, 1e8, allow_nan=False)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.none() | TIMES), min_size=1, max_size=20), st.floats(0.1, 600))
def test_a_hold_is_never_shorter_than_the_least_time_and_never_longer_than_7_days(
    met: list[tuple[float, float | None]], least_s: float
) -> None:
    limits, now = Limits(least_s), NOW
    for later, until in met:
        now += later
        before = limits.hold(now)
        hold = limits.met(Limit("429", None if until is None else now + until), now)
        assert hold.until <= now + MOST_S
        kept = before is not None and until is None
        assert kept or hold.until >= now + least_s
        assert limits.hold(now) == (hold if now < hold.until else None)
        assert limits.hold(hold.until) is None


@given(st.floats(LEAST_S, MOST_S))
def test_what_is_told_is_believed(wait_s: float) -> None:
    assert Limits().met(Limit("429", NOW + wait_s), NOW).until == NOW + wait_s


@given(st.integers(1, 40), st.none() | st.floats(-1e6, LEAST_S / 2))
def test_one_that_is_met_again_and_again_is_waited_for_longer_and_longer(times: int, told: float | None) -> None:
    limits, now, waits = Limits(), NOW, []
    for _ in range(times):
        hold = limits.met(Limit("429", None if told is None else now + told), now)
        waits.append(hold.until - now)
        now = hold.until
    assert waits == sorted(waits)
    assert waits[0] == LEAST_S and max(waits) <= UNTOLD_MOST_S
    assert hold.tries == times


@given(st.integers(1, 10))
def test_told_again_while_it_holds_it_counts_once(times: int) -> None:
    limits = Limits()
    first = limits.met(Limit("429", NOW + 3600), NOW)
    for second in range(times):
        assert limits.met(Limit("429"), NOW + second).until == first.until
    assert limits.met(Limit("429", NOW + 7200), NOW + times) == Hold("429", NOW + 7200, 1)


def test_a_turn_that_works_ends_it_and_forgets_the_tries() -> None:
    limits = Limits()
    assert not limits.works()
    for _ in range(3):
        hold = limits.met(Limit("429"), limits.last.until if limits.last else NOW)
    assert hold.tries == 3
    assert limits.works()
    assert limits.hold(NOW) is None
    assert limits.met(Limit("429"), NOW).tries == 1


def test_it_goes_on_from_what_was_saved() -> None:
    limits = Limits(hold=Hold("429", NOW + 10, 2))
    assert limits.hold(NOW) is not None
    assert limits.met(Limit("429"), NOW + 11).tries == 3


def test_people_are_told_the_time() -> None:
    assert Hold("429", 1795219320.0).text == f"{HELD}2026-11-21 00:02:00 UTC"
