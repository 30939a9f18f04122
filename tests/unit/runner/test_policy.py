from hypothesis import given
from hypothesis import strategies as st

from relay_runner.runner.policy import MAX_DELAY_S, MAX_EXITS, STEP_S, WINDOW_S, GiveUp, RestartPolicy


def test_not_11_a_crash_every_31_seconds_is_given_up() -> None:
    policy = RestartPolicy()
    decisions = [policy.after_exit(31.0 * n, 31.0) for n in range(4)]
    assert all(isinstance(decision, float) for decision in decisions[:3])
    assert isinstance(decisions[3], GiveUp)
    assert "4 times in 120 s" in decisions[3].reason


def test_delays_grow_with_the_recent_exits() -> None:
    policy = RestartPolicy()
    assert [policy.after_exit(float(n), 0.1) for n in range(3)] == [0.5, 1.0, 1.5]


def test_exits_out_of_the_window_are_forgotten() -> None:
    policy = RestartPolicy()
    assert all(policy.after_exit(100.0 * n, 99.0) != GiveUp for n in range(50))
    assert isinstance(policy.after_exit(5001.0, 0.1), float)


@given(st.lists(st.floats(0, 300), min_size=1, max_size=40))
def test_it_gives_up_exactly_when_more_than_three_exits_fall_into_two_minutes(gaps: list[float]) -> None:
    policy, now, exits = RestartPolicy(), 0.0, []
    for gap in gaps:
        now += gap
        exits.append(now)
        recent = sum(now - at < WINDOW_S for at in exits)
        decision = policy.after_exit(now, gap)
        if recent > MAX_EXITS:
            assert isinstance(decision, GiveUp)
        else:
            assert isinstance(decision, float)
            assert STEP_S <= decision <= MAX_DELAY_S


@given(st.floats(0.0, 39.9))
def test_any_steady_crash_of_less_than_forty_seconds_is_given_up_at_the_fourth(every_s: float) -> None:
    policy = RestartPolicy()
    decisions = [policy.after_exit(every_s * n, every_s) for n in range(4)]
    assert [isinstance(decision, GiveUp) for decision in decisions] == [False, False, False, True]


@given(st.floats(40.0, 1e4), st.integers(4, 60))
def test_a_program_that_ends_rarely_is_started_again_for_ever(every_s: float, times: int) -> None:
    policy = RestartPolicy()
    assert all(isinstance(policy.after_exit(every_s * n, every_s), float) for n in range(times))


@given(st.lists(st.floats(0, 300), min_size=1, max_size=20), st.floats(0, 1e6))
def test_how_long_it_ran_decides_nothing(gaps: list[float], ran_for: float) -> None:
    one, other, now = RestartPolicy(), RestartPolicy(), 0.0
    for gap in gaps:
        now += gap
        first, second = one.after_exit(now, 0.0), other.after_exit(now, ran_for)
        assert isinstance(first, GiveUp) == isinstance(second, GiveUp)
        if isinstance(first, float):
            assert first == second
