"""What a program's terminal shows now, for the log."""

from __future__ import annotations

from relay_runner.errors import ProviderError, TerminalError
from relay_runner.terminal.base import Terminal


async def snapshot(terminal: Terminal, said: str = "") -> str:
    """Return what the terminal shows, after what it `said` of itself; a screen that cannot be seen says why."""
    try:
        shown = (await terminal.capture()).tail()
    except (TerminalError, ProviderError) as error:
        shown = f"cannot see the screen: {error}"
    return "\n".join(part for part in (said, shown) if part)
