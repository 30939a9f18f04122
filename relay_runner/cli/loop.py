"""Run a coroutine to its end; asyncio is imported only when there is one (half of the time of `--help` otherwise)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what the coroutine returns."""
    import asyncio

    return asyncio.run(coroutine)
