"""What an agent's program answered to an operation, as a person reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from relay_runner.cli import output
from relay_runner.cli.exits import Exit

CELL = 80
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def provider_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the program itself answered, out of what became of an order."""
    found = result["result"].get("providerResult")
    return dict(found) if isinstance(found, Mapping) else {}


def anything(agent: str, found: Mapping[str, Any]) -> None:
    """Print any answer: a list as a table, everything else as lines."""
    if not found:
        output.say(f"{agent}: done")
    for name, value in found.items():
        if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            keys = tuple(value[0])
            rows = [[_cell(row.get(key), key=key) for key in keys] for row in value]
            output.table([_words(key) for key in keys], rows, empty="")
        elif isinstance(value, str) and "\n" in value.strip():
            output.say(f"{_words(name)}:")
            output.say(value.rstrip("\n"))
        elif isinstance(value, Mapping):
            output.say(f"{_words(name)}:")
            for inner, what in value.items():
                output.say(f"  {_words(inner)}: {_cell(what, 1000, key=inner)}")
        else:
            output.say(f"{_words(name)}: {_cell(value, 1000, key=name)}")


def operations(agent: str, found: Mapping[str, Any]) -> None:
    """Print what an agent can do."""
    rows = [
        (one.get("name"), " ".join(f"{name}=" for name in one.get("takes") or ()) or "-", one.get("summary") or "-")
        for one in found.get("operations") or ()
    ]
    output.table(("operation", "takes", "what it does"), rows, empty=f"{agent} has no operations of its own")


def models(agent: str, found: Mapping[str, Any]) -> None:
    """Print the models, the present one marked."""
    rows = [
        (
            f"{one.get('model')}{' *' if one.get('current') else ''}",
            one.get("effort") or "-",
            ", ".join(one.get("efforts") or ()) or "-",
            output.line(one.get("description"), CELL),
        )
        for one in found.get("models") or ()
    ]
    output.table(("model", "effort", "efforts", "what it is"), rows, empty=f"{agent} tells no models")


def forked(agent: str, found: Mapping[str, Any]) -> None:
    """Print where the copy is."""
    where = "it goes on there" if found.get("switched") else "it stays in its own"
    output.say(f"{agent}: copied into session {output.line(found.get('sessionId'))}; {where}")


def reverted(agent: str, found: Mapping[str, Any]) -> None:
    """Print how many turns were taken back."""
    count = len(found.get("reverted") or ())
    output.say(f"{agent}: {count} turn{'' if count == 1 else 's'} taken back; files are as they were")


def limits(agent: str, found: Mapping[str, Any]) -> None:
    """Print how much of each window is used, and when it begins again."""
    told = (found.get("limits") or {}).items()
    windows = [(name, window) for name, window in told if isinstance(window, Mapping) and "usedPercent" in window]
    if not windows:
        output.note(f"{agent}: no limits are known: {output.line(found.get('reason') or 'the account tells none')}")
        return
    rows = [
        (
            name,
            f"{window['usedPercent']} %",
            f"{window.get('windowDurationMins') or '-'} min",
            output.clock(window["resetsAt"]) if window.get("resetsAt") else "-",
        )
        for name, window in windows
    ]
    output.table(("window", "used", "of", "begins again"), rows, empty="")


def turn(agent: str, found: Mapping[str, Any]) -> int:
    """Print what a turn said, and return the exit code of how it ended."""
    match found.get("outcome"):
        case "completed":
            output.say(str(found.get("result") or ""))
            return Exit.OK
        case "interrupted":
            output.note(f"{agent}: {output.line(found.get('reason') or 'interrupted', 1000)}")
            return Exit.INTERRUPTED
    output.note(f"{agent}: {output.line(found.get('reason') or 'it failed', 1000)}")
    return Exit.FAILED


def _words(name: str) -> str:
    """Return `startedAt` as `started at`."""
    return output.line(_HUMP.sub(" ", name).lower())


def _cell(value: Any, limit: int = CELL, *, key: str = "") -> str:
    if value is None or value == []:
        return "-"
    if key.endswith("At") and isinstance(value, int | float):
        return output.clock(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return output.line(text, limit)
