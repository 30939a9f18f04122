from __future__ import annotations

from typing import Any

import pytest

from relay_runner.errors import ProviderRefused
from relay_runner.providers.codex.operations.args import Args

GIVEN = Args({"text": "a", "empty": " ", "no": None, "flag": True, "number": 3, "list": ["a", "b"], "word": "red"})


def test_values_come_with_their_types() -> None:
    assert (GIVEN.text("text"), GIVEN.need("text"), GIVEN.text("nothing")) == ("a", "a", None)
    assert (GIVEN.text("number"), GIVEN.texts("number")) == ("3", ["3"])
    assert (GIVEN.flag("flag"), GIVEN.flag("nothing"), GIVEN.flag("nothing", True)) == (True, False, True)
    assert (GIVEN.number("number"), GIVEN.number("nothing"), GIVEN.number("nothing", 7)) == (3, None, 7)
    assert (GIVEN.texts("list"), GIVEN.texts("text"), GIVEN.texts("nothing")) == (["a", "b"], ["a"], [])
    assert (GIVEN.one_of("word", ("red",)), GIVEN.one_of("nothing", ("red",))) == ("red", None)
    assert ("flag" in GIVEN, "no" in GIVEN, GIVEN.raw("list")) == (True, False, ["a", "b"])


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: GIVEN.text("flag"), "flag must be a text"),
        (lambda: GIVEN.text("empty"), "empty must be a text"),
        (lambda: GIVEN.need("nothing"), "nothing is missing"),
        (lambda: GIVEN.flag("text"), "text must be true or false"),
        (lambda: GIVEN.number("flag"), "flag must be a whole number from 1 on"),
        (lambda: GIVEN.number("number", least=4), "number must be a whole number from 4 on"),
        (lambda: GIVEN.texts("flag"), "flag must be a text, or a list of texts"),
        (lambda: GIVEN.one_of("word", ("blue", "green")), "word must be one of blue, green"),
    ],
)
def test_what_does_not_fit_is_refused(ask: Any, said: str) -> None:
    with pytest.raises(ProviderRefused, match=said):
        ask()
