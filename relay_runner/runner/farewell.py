"""The last words of a runner: everything that is still to be told, in order and in bounded time."""

from __future__ import annotations

import asyncio
import logging
import time

from relay_runner.errors import ClaimLost, ProtocolError, RelayRefused, RelayUnavailable
from relay_runner.relay.base import Relay
from relay_runner.runner.commands import Commands
from relay_runner.runner.identity import Identity
from relay_runner.runner.inbox import Inbox
from relay_runner.runner.options import RunnerExit
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.work import Work

log = logging.getLogger(__name__)

FLUSH_S = 5.0


class Farewell:
    """Tell the relay how it ended; what it does not take now, the next runner of the agent tells it."""

    def __init__(
        self, relay: Relay, *, receipts: Receipts, inbox: Inbox, commands: Commands, identity: Identity, work: Work
    ) -> None:
        self._relay = relay
        self._receipts = receipts
        self._inbox = inbox
        self._commands = commands
        self._identity = identity
        self._work = work

    async def say(self, end: RunnerExit, *, retire: bool) -> None:
        """Say it; with `retire` the agent leaves the relay's list."""
        if retire:
            self._inbox.give_up(end.reason)
        if not await self._receipts.flushed(FLUSH_S):
            log.warning("the relay did not take all receipts; the next runner sends them")
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._tell(end, retire=retire)
        except (TimeoutError, RelayUnavailable, RelayRefused, ProtocolError, ClaimLost) as error:
            log.info("the relay does not know that we end: %s", error or "it did not answer in time")

    async def _tell(self, end: RunnerExit, *, retire: bool) -> None:
        await self._inbox.hand_back()
        await self._commands.farewell(end.reason, ordered=retire)
        status = self._work.status(time.time())
        await self._relay.put_status(self._identity.agent_id, self._identity.instance_id, status)
        if retire:
            await self._relay.remove_agent(self._identity.agent_id)
