"""How a Claude Code ended, in one line for a person."""

from __future__ import annotations

from relay_runner.providers.claude.screen import last_words
from relay_runner.terminal.base import ExitStatus, Screen

_SIGNALLED = 128
"""A program that ends by a signal's leave ends with a code above this one."""


def explain_exit(status: ExitStatus, screen: Screen | None) -> str:
    """Return one line for a person: why the program ended."""
    words = None if screen is None or _killed(status) else _words(status, screen)
    return f"Claude Code ended ({status}){': ' + words if words else ''}"


def _killed(status: ExitStatus) -> bool:
    """Say whether a signal ended the program: then what its screen shows is not its last words."""
    return status.code is not None and (status.code < 0 or status.code > _SIGNALLED)


def _words(status: ExitStatus, screen: Screen) -> str | None:
    words = last_words(screen)
    if words is None and status.code not in (0, None):
        words = screen.tail(1).strip()[:200]
    return words
