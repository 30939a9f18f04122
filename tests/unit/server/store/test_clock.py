"""The store's time: the wall clock's, but for a jump that was not taken into account yet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.server.store.clock import TOLERANCE_S, StoreClock


class Pair:
    """A wall clock and a steady one, turned by hand."""

    def __init__(self) -> None:
        self.wall = 1000.0
        self.steady = 7.0
        self.clock = StoreClock(lambda: self.wall, lambda: self.steady)

    def go(self, seconds: float, jump: float = 0.0) -> None:
        self.steady += seconds
        self.wall += seconds + jump


@pytest.mark.parametrize("jump", [1300.0, -1300.0])
def test_a_jump_is_held_back_until_it_is_believed(jump: float) -> None:
    pair = Pair()
    pair.go(5.0, jump)
    assert (pair.clock(), pair.clock.jump()) == (1005.0, jump)
    pair.go(5.0)
    assert (pair.clock(), pair.clock.jump()) == (1010.0, jump)
    pair.clock.believe(jump)
    assert (pair.clock(), pair.clock.jump()) == (1010.0 + jump, 0.0)


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(-TOLERANCE_S / 2, TOLERANCE_S / 2)), max_size=50))
def test_a_clock_that_is_slewed_does_not_jump(steps: list[tuple[float, float]]) -> None:
    pair = Pair()
    for seconds, slewed in steps:
        pair.go(seconds, slewed)
        assert pair.clock.jump() == 0.0 and pair.clock() == pair.wall


def test_a_clock_of_a_test_is_believed_as_it_is() -> None:
    now = [5.0]
    clock = StoreClock(lambda: now[0])
    now[0] += 1e6
    assert clock() == now[0] and clock.jump() == 0.0
