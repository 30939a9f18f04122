"""Commands from their arrival to the runner's last words, put together."""

from __future__ import annotations

import asyncio
import contextlib

from relay_runner.errors import ProtocolError, RelayRefused, RelayUnavailable
from relay_runner.protocol.commands import Command
from relay_runner.relay.base import Relay
from relay_runner.runner.commands import Commands
from relay_runner.runner.delivering import Delivering
from relay_runner.runner.farewell import Farewell
from relay_runner.runner.identity import Identity
from relay_runner.runner.journal import Journal
from relay_runner.runner.options import RunnerExit
from relay_runner.runner.orders import Orders
from relay_runner.runner.permissions import Permissions
from relay_runner.runner.presence import Presence
from relay_runner.runner.supervisor import Supervisor
from relay_runner.runner.work import Work

FLUSH_S = 5.0


class Ordering:
    """Take commands, carry them out, and part from the relay as the last of them says."""

    def __init__(
        self,
        relay: Relay,
        journal: Journal,
        *,
        identity: Identity,
        work: Work,
        joined: asyncio.Event,
        presence: Presence,
        supervisor: Supervisor,
        permissions: Permissions,
        delivering: Delivering,
    ) -> None:
        self._joined = joined
        self._presence = presence
        self._permissions = permissions
        self._orders = Orders(
            supervisor, rejoin=presence.rejoin, go_on=delivering.inbox.go_on, decide=permissions.decide
        )
        self._commands = Commands(relay, journal, identity, work, presence.publish, self._orders.obey)
        self._farewell = Farewell(
            relay,
            receipts=delivering.receipts,
            inbox=delivering.inbox,
            commands=self._commands,
            identity=identity,
            work=work,
        )

    def offer(self, command: Command) -> None:
        """Take note of a command."""
        self._commands.offer(command)

    async def look(self) -> None:
        """Take what the bus did not bring: it was away, or is silent."""
        with contextlib.suppress(RelayUnavailable, RelayRefused, ProtocolError):  # it is looked again soon
            await self._commands.fetch()

    async def run(self) -> None:
        """Carry out what came while nobody listened, and what comes, for ever."""
        await self._joined.wait()
        await self.look()
        await self._commands.run()

    async def part(self, end: RunnerExit) -> None:
        """Tell the relay how the runner ended; one that never joined has nothing to say."""
        self._presence.publish()
        if self._joined.is_set():
            await self._permissions.flushed(FLUSH_S)
            await self._farewell.say(end, retire=self._orders.retiring)
