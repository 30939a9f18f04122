from __future__ import annotations

from typing import Any

import pytest

from relay_runner.errors import ProviderRefused
from relay_runner.protocol.permissions import Question
from relay_runner.providers.codex import forms
from tests.unit.providers.codex import asks

SCHEMA = asks.FORM["requestedSchema"]


def test_every_kind_of_field_is_a_question() -> None:
    assert forms.questions(SCHEMA) == (
        Question(id="name", text="Your name"),
        Question(id="age", text="age", required=False),
        Question(id="ok", text="ok", options=("yes", "no"), required=False),
        Question(id="color", text="color", options=("Red", "Blue"), required=False),
        Question(id="many", text="many", options=("A", "B"), multiple=True, required=False),
    )


def test_answers_become_what_the_server_wants() -> None:
    told = {"name": "ann", "age": "3", "ok": "no", "color": "Blue", "many": ["A", "b"], "unknown": "x"}
    assert forms.content(SCHEMA, told) == {"name": "ann", "age": 3, "ok": False, "color": "blue", "many": ["a", "b"]}
    assert forms.content(SCHEMA, {"many": "B", "ok": True}) == {"many": ["b"], "ok": True}
    assert forms.content({"properties": {"n": {"type": "number"}}}, {"n": "2.5"}) == {"n": 2.5}


@pytest.mark.parametrize(
    "told", [{"age": "old"}, {"age": None}, {"ok": "perhaps"}, {"color": "green"}, {"many": ["c"]}]
)
def test_what_does_not_fit_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(ProviderRefused, match="is to be"):
        forms.content(SCHEMA, told)


@pytest.mark.parametrize("schema", [None, {}, {"properties": None}, {"properties": {"x": 1}}])
def test_a_schema_of_nothing_is_no_form(schema: Any) -> None:
    assert forms.questions(schema) == () and forms.content(schema, {"x": 1}) == {}
