"""Orders about the agent, one after the other, each once.

accepted -> running -> succeeded | failed, with a result that says what was done. A command that ends the runner is
reported at the very end, by `farewell`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from relay_runner.errors import ProtocolError, RelayRefused, RelayRunnerError, RelayUnavailable
from relay_runner.protocol.commands import MAX_COMMAND_TIMEOUT_S, Command, CommandState, CommandUpdate
from relay_runner.relay.base import Relay
from relay_runner.runner.journal import Journal

log = logging.getLogger(__name__)

Work = Callable[[Command], Awaitable[Mapping[str, Any]]]


class Commands:
    """Carry out what is ordered, by type; the table of types is given by the runner."""

    def __init__(self, relay: Relay, journal: Journal, agent_id: str, table: Mapping[str, Work]) -> None:
        self._relay = relay
        self._journal = journal
        self._agent_id = agent_id
        self._table = table
        self._queue: asyncio.Queue[Command] = asyncio.Queue()
        self._last: Command | None = None

    def offer(self, command: Command) -> None:
        """Take note of a command; one that was taken before is ignored, even by an earlier runner."""
        if command.state in (CommandState.ACCEPTED, CommandState.RUNNING) and not self._journal.fact(_key(command)):
            self._journal.remember(_key(command), str(command.created_at))
            self._queue.put_nowait(command)

    async def fetch(self) -> None:
        """Take the commands that came while nobody listened."""
        for command in await self._relay.pending_commands(self._agent_id):
            self.offer(command)

    async def run(self) -> None:
        """Carry commands out in order, for ever."""
        while True:
            command = await self._queue.get()
            self._last = command
            await self._carry_out(command)
            self._last = None

    async def farewell(self, reason: str) -> None:
        """Report the command that ended the runner."""
        if self._last is not None:
            await self._report(self._last, CommandState.SUCCEEDED, {"reason": reason})

    async def _carry_out(self, command: Command) -> None:
        log.info("command %s from %s", command.type, command.sender)
        work = self._table.get(command.type)
        if work is None:
            await self._report(command, CommandState.FAILED, {"reason": f"unknown command {command.type!r}"})
            return
        await self._report(command, CommandState.RUNNING, {})
        try:
            async with asyncio.timeout(min(max(command.timeout_s, 0.001), MAX_COMMAND_TIMEOUT_S)):
                result = await work(command)
        except TimeoutError:
            await self._report(command, CommandState.FAILED, {"reason": f"not done within {command.timeout_s:g} s"})
        except RelayRunnerError as error:
            await self._report(command, CommandState.FAILED, {"reason": str(error)})
        else:
            await self._report(command, CommandState.SUCCEEDED, dict(result))

    async def _report(self, command: Command, state: CommandState, result: Mapping[str, Any]) -> None:
        update = CommandUpdate(state=state, result={"action": command.type, "agentId": self._agent_id, **result})
        try:
            await self._relay.update_command(command.id, update)
        except (RelayUnavailable, RelayRefused, ProtocolError) as error:
            log.warning("command %s is %s, and the relay does not know: %s", command.type, state, error)


def _key(command: Command) -> str:
    return f"command:{command.id}"
