"""What the relay is told of an agent's questions, and what it is asked about them.

Everything is retried for as long as the relay cannot be asked; the relay says no only to what will never do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from relay_runner.errors import ClaimLost, ProtocolError, RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol import decisions
from relay_runner.protocol.frames import PermissionDecision
from relay_runner.protocol.permissions import (
    NewPermission,
    Permission,
    PermissionQuery,
    PermissionUpdate,
    Resolution,
)
from relay_runner.relay.base import Relay
from relay_runner.runner import backoff
from relay_runner.runner.bell import Bell
from relay_runner.runner.group import task_group
from relay_runner.runner.identity import Identity
from relay_runner.runner.question import AWAY, Report
from relay_runner.runner.questions import Questions

log = logging.getLogger(__name__)

POLL_S = 20.0
RETRY_S = 1.0
RETRY_LIMIT_S = 20.0


class PermissionReports:
    """Keep the relay's permissions and the table's the same."""

    def __init__(
        self,
        relay: Relay,
        table: Questions,
        identity: Identity,
        bell: Bell,
        *,
        joined: asyncio.Event,
        ready: asyncio.Event,
        on_answer: Callable[[PermissionDecision], None],
        on_change: Callable[[], None],
    ) -> None:
        self._relay = relay
        self._table = table
        self._identity = identity
        self._bell = bell
        self._joined = joined
        self._ready = ready
        """Set while the program can be asked: then what the table does not have is over."""
        self._on_answer = on_answer
        self._on_change = on_change

    async def run(self) -> None:
        """Tell what is to be told, and look for what the bus did not bring; for ever."""
        await self._joined.wait()
        async with task_group() as group:
            group.create_task(self._tell(), name="permissions-tell")
            group.create_task(self._poll(), name="permissions-poll")

    async def flushed(self, seconds: float) -> bool:
        """Wait until the relay knows everything; False when it did not in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._bell.until(lambda: self._table.next_report() is None)
        except TimeoutError:
            return False
        return True

    async def _tell(self) -> None:
        delays = backoff.delays(RETRY_S, RETRY_LIMIT_S)
        while True:
            await self._bell.until(lambda: self._table.next_report() is not None)
            report = self._table.next_report()
            assert report is not None
            try:
                await self._report(report)
            except (RelayUnavailable, RelayUnauthorized, ProtocolError, ClaimLost) as error:
                delay_s = next(delays)
                log.info("permission %s is told in %.1f s: %s", report.id, delay_s, error)
                await asyncio.sleep(delay_s)
                continue
            except RelayRefused as error:
                log.error("the relay does not take permission %s: %s", report.id, error)
            delays = backoff.delays(RETRY_S, RETRY_LIMIT_S)
            self._table.told(report)
            self._on_change()

    async def _report(self, report: Report) -> None:
        if isinstance(report.call, NewPermission):
            self._learn(await self._relay.open_permission(report.call))
        else:
            await self._relay.update_permission(report.id, report.call)

    async def _poll(self) -> None:
        """Ask the relay for answers, and close there what nobody here asks."""
        while True:
            await self._ready.wait()
            try:
                await self._compare()
            except (RelayUnavailable, RelayRefused, ProtocolError, ClaimLost) as error:
                log.info("the relay cannot be asked for answers: %s", error)
            await asyncio.sleep(POLL_S)

    async def _compare(self) -> None:
        who = self._identity
        for permission in await self._relay.permissions(PermissionQuery(agent_id=who.agent_id, open=True)):
            if self._table.get(permission.id) is not None:
                self._learn(permission)
            elif self._ready.is_set():
                update = PermissionUpdate(
                    agent_id=who.agent_id,
                    instance_id=who.instance_id,
                    resolution=Resolution.WITHDRAWN,
                    note=AWAY,
                )
                await self._relay.update_permission(permission.id, update)

    def _learn(self, permission: Permission) -> None:
        if (frame := decisions.frame_of(permission)) is not None:
            self._on_answer(frame)
