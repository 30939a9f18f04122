"""Coroutines are run to their end."""

from __future__ import annotations

from relay_runner.cli import loop


async def answer() -> int:
    """Return a number."""
    return 42


def test_a_coroutine_is_run() -> None:
    assert loop.run(answer()) == 42
