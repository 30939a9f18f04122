"""A store to test, with a clock that tests turn, and people who use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from relay_runner.protocol.access import Caller
from relay_runner.protocol.messages import Delivery, NewMessage
from relay_runner.protocol.tokens import ADMIN, OPERATOR, SEND
from relay_runner.server.store.base import Change
from relay_runner.server.store.sqlite import SqliteStore
from tests.contract.relays import Clock, hello

OPERATOR_CALLER = Caller("person:op", frozenset({SEND, OPERATOR, ADMIN}))


def agent_caller(agent_id: str) -> Caller:
    """Return an agent as the store sees it."""
    return Caller(f"agent:{agent_id}", frozenset({f"agent:{agent_id}", SEND}))


class Keeper:
    """An open store, its clock, and every change that it told of."""

    def __init__(self, store: SqliteStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.changes: list[Change] = []
        store.follow(self.changes.extend)

    async def join(self, agent_id: str, instance_id: str = "one", **more: object) -> None:
        """Make an agent known."""
        await self.store.join(hello(agent_id, instance_id, **more), f"bus-{agent_id}-{instance_id}")

    async def leave(self, agent_id: str, instance_id: str = "one") -> None:
        """Close an agent's bus."""
        await self.store.leave(agent_id, f"bus-{agent_id}-{instance_id}")

    async def post(self, to: str, body: str = "x", **more: object) -> int:
        """Post a message and return its id."""
        new = NewMessage(to=to, body=body, **more)  # type: ignore[arg-type]
        return (await self.store.accept(OPERATOR_CALLER, new)).message.id

    async def delivery(self, message_id: int) -> Delivery:
        """Return the only delivery of a message."""
        (found,) = (await self.store.record(OPERATOR_CALLER, message_id)).deliveries
        return found

    def pushed(self) -> list[tuple[str | None, int]]:
        """Return which deliveries were given to be pushed, as (recipient, attempt)."""
        return [
            (change.delivery.recipient, change.delivery.attempt)
            for change in self.changes
            if change.event.type == "delivery" and change.delivery is not None and change.message is not None
        ]


@asynccontextmanager
async def keeping(folder: Path, clock: Clock | None = None) -> AsyncIterator[Keeper]:
    """Open a store."""
    clock = clock or Clock()
    async with SqliteStore(folder / "relay.db", clock) as store:
        yield Keeper(store, clock)
