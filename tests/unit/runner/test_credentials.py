import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.runner.credentials import JITTER_S, MAX_LEAD_S, TokenSchedule


@pytest.mark.parametrize(("life_s", "lead_s"), [(24 * 3600.0, 3600.0), (3600.0, 720.0), (600.0, 120.0), (200.0, 60.0)])
def test_the_lead_is_a_fifth_of_the_life_between_a_minute_and_an_hour(life_s: float, lead_s: float) -> None:
    assert TokenSchedule(1000.0, 1000.0 + life_s).renew_at() == 1000.0 + life_s - lead_s


@given(st.floats(0.5, 1e7), st.floats(0, JITTER_S))
def test_a_renewal_is_always_within_the_second_half_of_the_life(life_s: float, jitter: float) -> None:
    schedule = TokenSchedule(0.0, life_s)
    at = schedule.renew_at(jitter)
    assert life_s / 2 <= at <= life_s
    assert life_s - at <= MAX_LEAD_S + jitter + 1e-6


def test_a_short_token_does_not_make_a_hot_loop() -> None:
    assert TokenSchedule(0.0, 60.0).renew_at(30.0) == 30.0
