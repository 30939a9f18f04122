from itertools import islice

from relay_runner.runner import backoff


def test_delays_double_up_to_the_limit_and_never_exceed_it() -> None:
    delays = list(islice(backoff.delays(1.0, 10.0), 8))
    for delay, full in zip(delays, [1, 2, 4, 8, 10, 10, 10, 10], strict=True):
        assert full / 2 <= delay <= full


def test_the_delay_of_an_attempt_has_no_jitter() -> None:
    assert [backoff.of_attempt(n) for n in (1, 2, 3, 7, 20)] == [1, 2, 4, 60, 60]
