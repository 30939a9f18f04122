"""Forms that an MCP server has a person fill in: its schema as our questions, and our answers as what it wants.

The schema is the flat one of MCP's `elicitation/create` (2025-11-25): texts, numbers, yes or no, one of, some of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_runner.errors import ProviderRefused
from relay_runner.protocol.envelope import sanitise_line
from relay_runner.protocol.permissions import Question
from relay_runner.protocol.visible import visible_line

YES, NO = "yes", "no"


def questions(schema: Any) -> tuple[Question, ...]:
    """Return the questions of a form, in its own order."""
    required = schema.get("required") or () if isinstance(schema, dict) else ()
    return tuple(_question(name, field, name in required) for name, field in _fields(schema).items())


def content(schema: Any, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filled form; raise `ProviderRefused` for an answer that cannot be what it is to be."""
    filled: dict[str, Any] = {}
    for name, field in _fields(schema).items():
        if name in answers:
            filled[name] = _value(name, field, answers[name])
    return filled


def _fields(schema: Any) -> dict[str, dict[str, Any]]:
    fields = schema.get("properties") if isinstance(schema, dict) else None
    return {name: field for name, field in (fields or {}).items() if isinstance(field, dict)}


def _question(name: str, field: Mapping[str, Any], required: bool) -> Question:
    text = ": ".join(str(field[word]) for word in ("title", "description") if field.get(word))
    return Question(
        id=name,
        text=visible_line(text or name),
        options=tuple(_options(field)),
        multiple=field.get("type") == "array",
        required=required,
    )


def _options(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be chosen: as a person is shown it, and as the server knows it."""
    if field.get("type") == "boolean":
        return {YES: True, NO: False}
    if field.get("type") == "array":
        items = field.get("items")
        field = items if isinstance(items, dict) else {}
    titled = field.get("oneOf") or field.get("anyOf")
    if isinstance(titled, list):
        return {str(one.get("title") or one.get("const")): one.get("const") for one in titled if isinstance(one, dict)}
    values = field.get("enum") or ()
    names = field.get("enumNames") or values
    return {str(name): value for name, value in zip(names, values, strict=False)}


def _value(name: str, field: Mapping[str, Any], answer: Any) -> Any:
    options = _options(field)
    if field.get("type") == "array":
        chosen = answer if isinstance(answer, list | tuple) else [answer]
        return [_option(name, options, one) for one in chosen]
    if options:
        return _option(name, options, answer)
    try:
        match field.get("type"):
            case "integer":
                return int(answer)
            case "number":
                return float(answer)
    except (TypeError, ValueError) as error:
        raise ProviderRefused(f"{name} is to be a number, not {sanitise_line(str(answer), 40)!r}") from error
    return str(answer)


def _option(name: str, options: Mapping[str, Any], answer: Any) -> Any:
    if str(answer) in options:
        return options[str(answer)]
    if answer in options.values():
        return answer
    raise ProviderRefused(f"{name} is to be one of {', '.join(options)}")
