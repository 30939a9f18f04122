"""The statements of `queries.sql` by name, and the schema."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from relay_runner.errors import StoreError

MARK = "-- name: "


@cache
def schema() -> str:
    """Return the statements that make the tables where they are missing."""
    return files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")


@cache
def queries() -> dict[str, str]:
    """Return every named statement."""
    text = files(__package__).joinpath("queries.sql").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for part in text.split(MARK)[1:]:
        name, _, statement = part.partition("\n")
        if name in found:
            raise StoreError(f"queries.sql has two statements named {name}")
        found[name.strip()] = statement.strip()
    return found
