"""End by force what is left of an agent: its runner, its program, its terminal."""

from __future__ import annotations

import asyncio
import signal

from relay_runner import config
from relay_runner.cli import compose, local
from relay_runner.errors import RelayRunnerError, TerminalError
from relay_runner.runner import record
from relay_runner.terminal import processes
from relay_runner.terminal.base import SavedTerminal

GONE_S = 5.0


async def by_force(paths: config.Paths, agent_id: str, runner_pid: int | None) -> list[str]:
    """Kill runner, program and terminal of an agent; return what there was to kill."""
    ended: list[str] = []
    if runner_pid is not None:
        # The runner first: it would start the program again.
        local.signal_runner(paths, agent_id, runner_pid, signal.SIGKILL)
        if not await asyncio.to_thread(local.wait_gone, paths, agent_id, runner_pid, GONE_S):
            raise RelayRunnerError(
                f"the runner (pid {runner_pid}) of {agent_id} does not die", hint="look at it with ps"
            )
        ended.append("runner")
    return [*ended, *await program(paths, agent_id, grace_s=0.0)]


async def program(paths: config.Paths, agent_id: str, *, grace_s: float) -> list[str]:
    """End the program that a runner left, and its terminal; return what there was to end."""
    saved = record.load(paths.agent(agent_id).process)
    ended = saved is not None and await _end_terminal(paths, saved.terminal, grace_s)
    paths.agent(agent_id).process.unlink(missing_ok=True)
    return ["provider"] if ended else []


async def _end_terminal(paths: config.Paths, saved: SavedTerminal, grace_s: float) -> bool:
    """End the program and its terminal; False when it was dead already."""
    terminals = compose.terminals_of(paths, saved.kind)
    try:
        terminal = await terminals.adopt(saved)
    except TerminalError:
        if not processes.runs(saved.process):
            raise
        # Its terminal cannot be reached, and it lives. Once it is dead, its server is ended by pid.
        await processes.end(frozenset({saved.process}) | processes.belongings(saved.process), grace_s)
        await terminals.adopt(saved)
        return True
    if terminal is None:
        return False
    async with asyncio.timeout(grace_s + GONE_S * 2):
        await terminal.terminate(grace_s=grace_s)
        await terminal.close()
    return True
