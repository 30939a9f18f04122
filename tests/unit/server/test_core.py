"""The service that watches the clock."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from relay_runner.protocol.access import Caller
from relay_runner.protocol.messages import ClaimRequest, NewMessage, Release, State
from relay_runner.protocol.tokens import ADMIN, SEND
from relay_runner.server.core import Core
from relay_runner.server.store.sqlite import SqliteStore
from tests.contract.relays import WAIT_S, hello

pytestmark = pytest.mark.anyio

OPERATOR = Caller("person:op", frozenset({SEND, ADMIN}))


async def reached(core: Core, message_id: int, state: State, attempt: int) -> float:
    """Return when the delivery got there, by being told of it."""
    with core.feed.watching(message_id) as changed:
        async with asyncio.timeout(WAIT_S):
            while True:
                changed.clear()
                (delivery,) = (await core.store.record(OPERATOR, message_id)).deliveries
                if (delivery.state, delivery.attempt, delivery.not_before) == (state, attempt, None):
                    return time.time()
                await changed.wait()


async def test_what_is_due_soon_happens_on_time_and_without_being_asked(tmp_path: Path) -> None:
    core = Core(SqliteStore(tmp_path / "r.db"))
    async with core.running():
        await core.store.join(hello("bob"), "bus")
        await core.store.leave("bob", "bus")
        message_id = (await core.store.accept(OPERATOR, NewMessage(to="bob", body="x"))).message.id
        lease = ClaimRequest(agent_id="bob", instance_id="one", lease_s=0.2)
        await core.store.claim(message_id, lease)
        due_at = time.time() + 0.2
        assert await reached(core, message_id, State.QUEUED, 2) < due_at + 2.0
        await core.store.claim(message_id, lease)
        release = Release(agent_id="bob", instance_id="one", attempt=2, reason="busy", delay_s=0.2)
        await core.store.release(message_id, release)
        assert await reached(core, message_id, State.QUEUED, 3) >= due_at


async def test_what_was_due_while_no_relay_ran_happens_at_the_start(tmp_path: Path) -> None:
    clock = [1000.0]
    core = Core(SqliteStore(tmp_path / "r.db", lambda: clock[0]), lambda: clock[0])
    async with core.running():
        await core.store.join(hello("bob"), "bus")
        message_id = (await core.store.accept(OPERATOR, NewMessage(to="bob", body="x", ttl_s=60))).message.id
    clock[0] += 61
    again = Core(SqliteStore(tmp_path / "r.db", lambda: clock[0]), lambda: clock[0])
    async with again.running():
        await reached(again, message_id, State.DEAD, 1)
        assert not (await again.store.agent("bob")).connected
