"""What the parts of one relay process share, and the service that watches the clock."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from relay_runner.errors import StoreError
from relay_runner.server.feed import Feed
from relay_runner.server.metrics import Metrics
from relay_runner.server.store.base import Change, Store
from relay_runner.server.tokens import Tokens

SWEEP_S = 5.0
"""The longest that the clock is left alone."""
SOONEST_S = 0.01
TIDY_S = 600.0
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Core:
    """One relay process: its store, who may speak, whom to tell, and when to stop."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.clock = clock
        self.started_at = clock()
        self.metrics = Metrics()
        self.feed = Feed(self.metrics)
        self.tokens = Tokens(store, clock)
        self.closing = asyncio.Event()
        """Set when the process is about to end: streams and buses close at once."""
        self._wake = asyncio.Event()
        self._due_at: float | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the store and keep its clock until the end of the context; raise what ended the body as it is."""
        async with self.store:
            self.store.follow(self.feed.publish)
            self.store.follow(self.tokens.notice)
            self.store.follow(self._notice)
            try:
                async with asyncio.TaskGroup() as group:
                    services = [group.create_task(self._keep_time()), group.create_task(self._tidy())]
                    try:
                        yield
                    finally:
                        self.closing.set()
                        for service in services:
                            service.cancel()
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _keep_time(self) -> None:
        """Sweep whenever something is due: the instants stand in the store, so nothing is forgotten by a restart."""
        while True:
            self._wake.clear()
            try:
                self._due_at = await self.store.sweep()
            except StoreError as error:
                log.error("%s", error)
                self._due_at = self.clock() + RETRY_S
            delay = SWEEP_S if self._due_at is None else min(SWEEP_S, self._due_at - self.clock())
            try:
                async with asyncio.timeout(max(SOONEST_S, delay)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _tidy(self) -> None:
        while True:
            try:
                await self.store.tidy()
            except StoreError as error:
                log.error("%s", error)
            await asyncio.sleep(TIDY_S)

    def _notice(self, changes: Sequence[Change]) -> None:
        """Wake the clock's service where a change is due before what it waits for."""
        soonest = min((at for change in changes for at in _instants(change)), default=None)
        if soonest is not None and soonest < min(self._due_at or soonest + 1, self.clock() + SWEEP_S):
            self._wake.set()


def _instants(change: Change) -> list[float]:
    found = []
    if change.delivery is not None:
        found += [change.delivery.claim_expires_at, change.delivery.not_before]
    if change.message is not None:
        found.append(change.message.expires_at)
    if change.command is not None:
        found.append(change.command.created_at + change.command.timeout_s)
    return [at for at in found if at is not None]
