from hypothesis import given
from hypothesis import strategies as st

from relay_runner.protocol.usage import Usage, total
from relay_runner.protocol.wire import decode, encode

COUNTS = st.none() | st.integers(0, 10**9)
USAGES = st.builds(
    Usage,
    input_tokens=COUNTS,
    cached_tokens=COUNTS,
    output_tokens=COUNTS,
    cost_usd=st.none() | st.floats(0, 1000, allow_nan=False),
)


@given(USAGES, USAGES)
def test_what_was_told_is_added_up_and_what_was_not_stays_untold(one: Usage, other: Usage) -> None:
    both = total(one, other)
    assert both is not None
    for name in Usage.__struct_fields__:
        told = [value for value in (getattr(one, name), getattr(other, name)) if value is not None]
        assert getattr(both, name) == (sum(told) if told else None)
    assert (both.tokens or 0) == (one.tokens or 0) + (other.tokens or 0)


@given(USAGES)
def test_nothing_adds_nothing_and_the_wire_changes_nothing(usage: Usage) -> None:
    assert total(usage, None) == total(None, usage) == usage
    assert total(None, None) is None
    assert decode(encode(usage), Usage) == usage
