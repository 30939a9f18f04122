"""Orders about the agent, one after the other, each once.

accepted -> running -> succeeded | failed, with a result that says what was done. How far a command got is journalled
before each step, so that a successor neither does it again nor leaves it unanswered: what had begun when the runner
died is answered as failed, with `unknown`. A command that ends the runner is reported at the very end, by `farewell`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from relay_runner.errors import (
    ClaimLost,
    ProtocolError,
    RelayRefused,
    RelayRunnerError,
    RelayUnavailable,
    StoreError,
)
from relay_runner.protocol.agents import WorkKind
from relay_runner.protocol.commands import MAX_COMMAND_TIMEOUT_S, Command, CommandState, CommandUpdate
from relay_runner.protocol.orders import MIN_COMMAND_TIMEOUT_S
from relay_runner.protocol.shape import pruned
from relay_runner.protocol.wire import Wire, decode, encode
from relay_runner.relay.base import Relay
from relay_runner.runner.identity import Identity
from relay_runner.runner.journal import Journal
from relay_runner.runner.submit import DISK_FULL
from relay_runner.runner.work import Work

log = logging.getLogger(__name__)

ILLEGAL_MOVE = "illegal-move"
ALWAYS = frozenset({"agent.shutdown", "agent.kill", "agent.restart", "agent.interrupt", "agent.permissionDecision"})
"""What is carried out on a full disk too: done twice it is done once."""
OPEN = (CommandState.ACCEPTED, CommandState.RUNNING)

Obey = Callable[[Command], Awaitable[Mapping[str, Any]]]


class Taken(Wire, frozen=True, kw_only=True):
    """How far a command got on this machine."""

    at: float
    instance_id: str
    """The life of the runner that took it."""
    state: CommandState
    result: dict[str, Any] = msgspec.field(default_factory=dict)


class Commands:
    """Carry out what is ordered; `obey` is the table of what that means."""

    def __init__(
        self, relay: Relay, journal: Journal, identity: Identity, work: Work, publish: Callable[[], None], obey: Obey
    ) -> None:
        self._relay = relay
        self._journal = journal
        self._identity = identity
        self._work = work
        self._publish = publish
        self._obey = obey
        self._queue: asyncio.Queue[Command] = asyncio.Queue()
        self._running: Command | None = None

    def offer(self, command: Command) -> None:
        """Take note of a command; the same one may be offered any number of times, by every life of the runner."""
        taken = self._taken(command)
        mine = taken is not None and taken.instance_id == self._identity.instance_id
        if command.state not in OPEN or (taken is not None and mine and taken.state in OPEN):
            return
        if taken is None:
            self._note(command, CommandState.ACCEPTED)
        else:
            self._note(command, taken.state, taken.result)
        self._queue.put_nowait(command)

    async def fetch(self) -> None:
        """Take the commands that came while nobody listened, and those of whose end the relay does not know."""
        for command in await self._relay.pending_commands(self._identity.agent_id):
            self.offer(command)

    async def run(self) -> None:
        """Carry commands out in order, for ever."""
        while True:
            command = await self._queue.get()
            taken = self._taken(command)
            if taken is None or taken.state is CommandState.ACCEPTED:
                await self._carry_out(command)
            elif taken.state is CommandState.RUNNING:
                reason = "the runner ended while it carried this out: what became of it is unknown"
                await self._end(command, CommandState.FAILED, {"reason": reason, "unknown": True})
            else:  # the relay was not told how it ended
                await self._report(command, taken.state, taken.result)

    async def farewell(self, reason: str, *, ordered: bool) -> None:
        """Report the command that ended the runner, where it was `ordered` to; else the one that its end cut off."""
        if (command := self._running) is None:
            return
        self._running = None
        if ordered:
            await self._end(command, CommandState.SUCCEEDED, {"reason": reason})
        else:
            cut_off = f"the runner ended while it carried this out ({reason}): what became of it is unknown"
            await self._end(command, CommandState.FAILED, {"reason": cut_off, "unknown": True})

    async def _carry_out(self, command: Command) -> None:
        log.info("command %s from %s", command.type, command.sender)
        if command.target not in (self._identity.agent_id, self._identity.runner_id):
            reason = f"it was for the runner {command.target}, which has ended"
            await self._end(command, CommandState.FAILED, {"reason": reason})
            return
        self._running = command
        label = f"{command.type} from {command.sender}"
        self._work.start(WorkKind.COMMAND, command.id, now=time.time(), source="runner", label=label)
        self._publish()
        self._note(command, CommandState.RUNNING)
        state, result = await self._outcome(command)
        if self._running is command:
            self._running = None
            await self._end(command, state, result)

    async def _outcome(self, command: Command) -> tuple[CommandState, Mapping[str, Any]]:
        if not await self._report(command, CommandState.RUNNING, {}):
            # It waited too long behind others, and its giver was told that it failed: it must not happen any more.
            return CommandState.FAILED, {"reason": "its time was over before it began"}
        if self._journal.held_in_memory and command.type not in ALWAYS:
            # Nobody would know after a crash that it was done already.
            return CommandState.FAILED, {"reason": f"{DISK_FULL}: free some space first", "code": StoreError.code}
        timeout_s = min(max(command.timeout_s, MIN_COMMAND_TIMEOUT_S), MAX_COMMAND_TIMEOUT_S)
        try:
            async with asyncio.timeout(timeout_s):
                return CommandState.SUCCEEDED, pruned(await self._obey(command))
        except TimeoutError:
            return CommandState.FAILED, {"reason": f"not done within {timeout_s:g} s"}
        except RelayRunnerError as error:
            return CommandState.FAILED, {"reason": str(error), "code": error.code}
        except Exception as error:  # a program that answered what nobody foresaw fails an order, not the agent
            log.exception("command %s failed", command.type)
            return CommandState.FAILED, {"reason": f"it failed inside: {error!r}", "code": "internal", "unknown": True}

    async def _end(self, command: Command, state: CommandState, result: Mapping[str, Any]) -> None:
        self._note(command, state, result)
        self._work.finish(WorkKind.COMMAND, command.id)
        self._publish()
        await self._report(command, state, result)

    async def _report(self, command: Command, state: CommandState, result: Mapping[str, Any]) -> bool:
        """Tell the relay; False where it says that the command is over already."""
        who = self._identity
        ids = {"command": command.id, "runner": who.runner_id, "instance": who.instance_id}
        said = {"action": command.type, "agentId": who.agent_id, "ids": ids, **result}
        try:
            await self._relay.update_command(command.id, CommandUpdate(state=state, result=said))
        except (RelayUnavailable, RelayRefused, ProtocolError, ClaimLost) as error:
            log.warning("command %s is %s, and the relay does not know: %s", command.type, state, error)
            return not (isinstance(error, RelayRefused) and error.code == ILLEGAL_MOVE)
        return True

    # --- the journal --------------------------------------------------------------------------------------------------

    def _taken(self, command: Command) -> Taken | None:
        noted = self._journal.fact(_key(command))
        return decode(noted, Taken) if noted is not None else None

    def _note(self, command: Command, state: CommandState, result: Mapping[str, Any] | None = None) -> None:
        instance_id = self._identity.instance_id
        taken = Taken(at=command.created_at, instance_id=instance_id, state=state, result=dict(result or {}))
        self._journal.remember(_key(command), encode(taken).decode())


def _key(command: Command) -> str:
    return f"command:{command.id}"
