"""How the command line speaks: lines, tables, JSON and errors.

Whatever came from a message or a peer passes `clean`, `line` or `asked`: it can neither move the cursor nor be taken
for markup, nothing in it reorders or hides, and what is cut says how much. Tables are drawn by rich on a terminal, and
are plain columns in a pipe. What a person should know beside the answer goes to stderr, so that stdout can be piped.
"""

from __future__ import annotations

import json
import re
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

from relay_runner.errors import RelayRunnerError

PROGRAM = "relay-runner"
CELL_CHARS = 400
# What JSON may hold as it is, and a terminal obeys: DEL, C1, line separators, bidi controls, halves of characters.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
STYLES = {
    "idle": "green",
    "busy": "yellow",
    "error": "red",
    "offline": "dim",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
    "dead": "red",
    "unknown": "yellow",
    "done": "green",
}


def say(text: str = "") -> None:
    """Print an answer on stdout."""
    print(clean(text), flush=True)


def note(text: str) -> None:
    """Tell a person something beside the answer, on stderr."""
    print(f"{PROGRAM}: {clean(text)}", file=sys.stderr, flush=True)


def say_json(value: Any) -> None:
    """Print one JSON document on stdout; `value` is made of plain containers."""
    text = json.dumps(value, ensure_ascii=not _is_utf8(), indent=2 if sys.stdout.isatty() else None)
    print(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=True)


def clean(text: str) -> str:
    """Return `text` as it may reach a terminal, and as this terminal's encoding can show it."""
    from relay_runner.protocol.envelope import sanitise
    from relay_runner.protocol.visible import visible

    text = visible(sanitise(text))
    return text if _is_utf8() else text.encode("ascii", "backslashreplace").decode("ascii")


def line(text: object, limit: int = 200) -> str:
    """Return `text` as one harmless line; of a longer one both ends."""
    from relay_runner.protocol.envelope import sanitise
    from relay_runner.protocol.visible import visible_line

    return visible_line(" ".join(sanitise("" if text is None else str(text)).split()), limit)


def asked(text: str, limit: int = 200) -> str:
    """Return what an agent asks a person for as one line, in which newlines and controls are shown, too."""
    from relay_runner.protocol.visible import visible_line

    return visible_line(text, limit)


def whole(text: str) -> str:
    """Return all of a text that an agent wants answered, its lines as they are and everything that hides shown."""
    from relay_runner.protocol.visible import visible

    return visible(text)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table, or say `empty` on stderr where there are no rows."""
    cells = [[line(cell, CELL_CHARS) for cell in row] for row in rows]
    if not cells:
        note(empty)
    elif sys.stdout.isatty():
        _rich_table(headers, cells)
    else:
        for row in _columns([[header.upper() for header in headers], *cells]):
            say(row)


def fail(error: RelayRunnerError, *, as_json: bool, debug: bool) -> None:
    """Print one error: a line on stderr, or an object on stdout where JSON was asked for."""
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    if as_json:
        say_json({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
    else:
        note(line(str(error), 2000))


def reasons(busy: Sequence[str]) -> str:
    """Return why an agent is busy, for a person: what it asks first, and the bare turn only where nothing says more."""
    told = [one.removeprefix("message: ") for one in busy if one != "provider-turn"]
    return ", ".join(told) if told else "works on its own turn" if busy else ""


def held(messages: Sequence[tuple[int, str, float]], now: float | None = None) -> str:
    """Return what an agent has and cannot put in, for a person: `message 41 is held: person typing (2m)`."""
    told = [f"message {id} is held: {reason} ({age(since, now)})" for id, reason, since in messages[:1]]
    return "".join(told) + (f", and {len(messages) - 1} more" if len(messages) > 1 else "")


def age(at: float | None, now: float | None = None) -> str:
    """Return how long ago an instant was: `12s`, `5m`, `3h`, `2d`; a dash for none."""
    if not at:
        return "-"
    return lasted((time.time() if now is None else now) - at)


def lasted(duration_s: float) -> str:
    """Return a duration in its largest whole unit: `12s`, `5m`, `3h`, `2d`."""
    seconds = max(0, int(duration_s))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def clock(at: float) -> str:
    """Return an instant as local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _is_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _rich_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for number, header in enumerate(headers):
        drawn.add_column(header.upper(), overflow="fold" if number == len(headers) - 1 else "ellipsis")
    for row in rows:
        drawn.add_row(*(Text(cell, style=STYLES.get(cell.split(" ")[0], "")) for cell in row))
    Console(highlight=False, markup=False, emoji=False).print(drawn)
