from hypothesis import given
from hypothesis import strategies as st

from relay_runner.runner.policy import MAX_DELAY_S, MAX_EXITS, STEP_S, WINDOW_S, GiveUp, RestartPolicy


def test_a_crash_every_31_seconds_is_given_up() -> None:
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
