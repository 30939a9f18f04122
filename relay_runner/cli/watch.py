"""watch: a live view of the agents, what they ask, and the messages between them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from relay_runner.cli import loop, words
from relay_runner.errors import ConfigError

if TYPE_CHECKING:
    from relay_runner.cli.session import Session


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("watch", cls=words.PlainCommand)(watch)


def watch() -> None:
    """Watch agents, permissions and messages live.

    Up and down choose, Enter shows an agent's terminal (Ctrl-] d comes back), v shows the whole text of a permission, y
    approves it, s approves it for the session, n denies it with a reason, q leaves.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("watch needs a terminal", hint="use `ps --json`, `permissions --json` and `inbox --json`")
    loop.run(_watch())


async def _watch() -> None:
    from rich.console import Console

    from relay_runner.cli import session
    from relay_runner.cli.dashboard.live import Dashboard

    async with session.open_session(only_person="watch the relay") as opened:

        async def show(agent_id: str) -> None:
            await _show(opened, agent_id)

        await Dashboard(opened.relay, Console(highlight=False, markup=False, emoji=False), show).run()


async def _show(opened: Session, agent_id: str) -> None:
    """Show an agent's terminal until the person leaves it."""
    import asyncio

    from relay_runner.cli import local, viewing

    info = local.require_live(opened.paths, agent_id)
    if not info.attach:
        raise ConfigError(f"{agent_id} has no terminal that can be shown")
    await asyncio.to_thread(viewing.watch, opened.paths, info, None)
