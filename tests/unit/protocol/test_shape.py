"""The bounds of foreign JSON: exact at the edge, blind to what stands in strings, and quick at the worst of it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.errors import ProtocolError
from relay_runner.protocol.shape import CUT, MAX_DEPTH, MAX_DIGITS, MAX_VALUES, check_shape, pruned

MIB = 1024 * 1024
QUICK_S = 1.0
"""Generous: the machine that runs the tests does other things as well."""


def nested(depth: int, inner: Any = 1) -> Any:
    value = inner
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return value


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def fits(text: bytes | str) -> bool:
    try:
        check_shape(text)
    except ProtocolError:
        return False
    return True


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('[]{}",\\x\n', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[]{}"\\', max_size=3), inner, max_size=3),
    max_leaves=30,
)


@given(JSON, st.integers(0, 40), st.booleans())
def test_the_depth_is_counted_as_it_is(inner: Any, depth: int, ascii_only: bool) -> None:
    value = nested(depth, inner)
    text = json.dumps(value, ensure_ascii=ascii_only)
    if len(max("".join(c if c.isdigit() else " " for c in text).split(), default="", key=len)) <= MAX_DIGITS:
        assert fits(text) is fits(text.encode()) is (depth_of(value) <= MAX_DEPTH)


@pytest.mark.parametrize("filler", ["", "x" * MAX_VALUES])
def test_strings_may_hold_anything(filler: str) -> None:
    text = json.dumps({"body": "[{" * 100 + '"' + "\\" * 7 + "9" * 100 + filler, "more": ["\\", '\\"[', "]"]})
    check_shape(text)


def test_numbers_have_an_end() -> None:
    assert fits("9" * MAX_DIGITS) and not fits("1" * (MAX_DIGITS + 1)) and not fits('{"a":0.' + "3" * 100 + "}")


def test_values_have_an_end() -> None:
    assert fits(json.dumps([0] * (MAX_VALUES - 1))) and not fits(json.dumps([0] * (MAX_VALUES + 1)))
    assert not fits(json.dumps({str(number): "" for number in range(MAX_VALUES + 1)}))


@pytest.mark.parametrize(
    "piece",
    [b"[", b"[]", b"[],", b'"', b'"",', b"\\", b'\\"', b"{", b'{"":', b"9", b"9,", b'"\\\\"[', b"[[]],", b"\xff"],
)
def test_a_mebibyte_of_the_worst_is_looked_at_at_once(piece: bytes) -> None:
    text = piece * (8 * MIB // len(piece))
    started = time.process_time()
    fits(text)
    assert time.process_time() - started < QUICK_S


def test_what_is_too_deep_or_too_much_is_left_out() -> None:
    value = {"a": 1, "deep": nested(100), "list": [(1, 2)]}
    found = pruned(value)
    assert found["a"] == 1 and found["list"] == [[1, 2]] and fits(json.dumps(found)) and CUT in json.dumps(found)
    many = pruned({"many": [0] * (2 * MAX_VALUES), "more": [[1]]})
    assert fits(json.dumps(many)) and len(many["many"]) > MAX_VALUES - 10 and many["more"] == CUT
    assert pruned("x") == "x"
