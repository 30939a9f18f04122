"""End by force what is left of an agent: its runner, its program, its terminal."""

from __future__ import annotations

import asyncio
import signal

from relay_runner import config
from relay_runner.cli import compose, local
from relay_runner.errors import RelayRunnerError
from relay_runner.protocol.control import RunnerInfo
from relay_runner.runner import record
from relay_runner.terminal.base import SavedTerminal

GONE_S = 5.0


async def by_force(paths: config.Paths, agent_id: str, runner: RunnerInfo | None) -> list[str]:
    """Kill runner, program and terminal of an agent; return what there was to kill."""
    ended: list[str] = []
    if runner is not None:
        # The runner first: it would start the program again.
        local.signal_runner(paths, runner, signal.SIGKILL)
        if not await asyncio.to_thread(local.wait_gone, paths, runner, GONE_S):
            raise RelayRunnerError(
                f"the runner (pid {runner.pid}) of {agent_id} does not die", hint="look at it with ps"
            )
        ended.append("runner")
    saved = record.load(paths.agent(agent_id).process)
    if saved is not None and await _end_terminal(paths, saved.terminal):
        ended.append("provider")
    paths.agent(agent_id).process.unlink(missing_ok=True)
    return ended


async def _end_terminal(paths: config.Paths, saved: SavedTerminal) -> bool:
    """End the program and its terminal; False when it was dead already."""
    terminals = compose.terminals_of(paths, saved.kind)
    terminal = await terminals.adopt(saved)
    if terminal is None:
        return False
    async with asyncio.timeout(GONE_S * 2):
        await terminal.terminate(grace_s=0.0)
        await terminal.close()
    return True
