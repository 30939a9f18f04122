"""Codex's own operations: compact, review, fork and the others, as a table of small functions over one `Room`."""

from relay_runner.providers.codex.operations.room import Room
from relay_runner.providers.codex.operations.table import available, run

__all__ = ["Room", "available", "run"]
