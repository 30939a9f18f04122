from hypothesis import given
from hypothesis import strategies as st

from relay_runner.protocol.decisions import PERMISSION_ID
from relay_runner.protocol.permissions import permission_id


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), min_size=1))
def test_an_id_is_short_the_same_for_the_same_and_another_for_others(one: list[str], other: list[str]) -> None:
    id = permission_id(*one)
    assert id == permission_id(*one) and PERMISSION_ID.fullmatch(id) and len(id) == 10
    if "\0".join(one).encode("utf-8", "replace") != "\0".join(other).encode("utf-8", "replace"):
        assert id != permission_id(*other)
