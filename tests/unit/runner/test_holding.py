from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.errors import RelayUnavailable
from relay_runner.protocol.messages import Delivery, Message, Receipt, State
from relay_runner.providers.base import Limit, Limited
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.holding import Holding
from relay_runner.runner.journal import Journal
from relay_runner.runner.queue import Entry
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio

assert Holding.__doc__


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


@pytest.fixture
def operator() -> MemoryRelay:
    return MemoryRelay()


async def test_a_limit_outside_of_a_turn_holds_what_comes_and_its_end_lets_it_go(
    journal: Journal, operator: MemoryRelay
) -> None:
    desk = Desk(journal, operator)
    async with desk.running():
        desk.emit(Limited(Limit("usage limit", time.time() + 3600)))
        id = await desk.send()
        assert (await desk.held(id)).state is State.QUEUED
        assert desk.process.submissions == [] and desk.work.limit is not None
        desk.emit(Limited(None))
        assert desk.work.limit is None
        await desk.process.until(1)


async def test_a_claimable_message_is_left_to_others_while_it_holds(journal: Journal, operator: MemoryRelay) -> None:
    desk = Desk(journal, operator)
    async with desk.running():
        desk.emit(Limited(Limit("429", time.time() + 3600)))
        id = await desk.send(to="tag:worker", claimable=True)
        await until(lambda: desk.inbox.queued == 1)
        delivery = await desk.delivery(id)
        assert (delivery.recipient, delivery.held, delivery.state) == (None, None, State.QUEUED)


async def test_everybody_is_told_once(journal: Journal, operator: MemoryRelay) -> None:
    desk = Desk(journal, operator)
    async with desk.running(process_id=None):
        ids = [await desk.send() for _ in range(3)]
        await until(lambda: desk.inbox.queued == 3)
        desk.holding.event(Limited(Limit("429", time.time() + 3600)))
        entries = [Entry((await operator.message(id)).message, 1) for id in ids]
        assert [await desk.holding.tell(entries) for _ in range(4)] == [True, True, True, False]
        desk.holding.event(Limited(None))
        assert [await desk.holding.tell(entries) for _ in range(4)] == [True, True, True, False]
        assert all(entry.held is None for entry in entries)


async def test_those_who_wait_behind_a_long_turn_are_told_once_and_not_taken_back(
    journal: Journal, operator: MemoryRelay
) -> None:
    busy = "the agent is busy since 12:00:00 UTC: a turn"
    desk = Desk(journal, operator)
    async with desk.running(process_id=None):
        ids = [await desk.send() for _ in range(2)]
        await until(lambda: desk.inbox.queued == 2)
        entries = [Entry((await operator.message(id)).message, 1) for id in ids]
        assert [await desk.holding.tell(entries, busy) for _ in range(3)] == [True, True, False]
        assert [(await desk.delivery(id)).held for id in ids] == [busy, busy]
        assert not await desk.holding.tell(entries, None)
        entries[0].held = "person typing"
        assert not await desk.holding.tell(entries, busy)


async def test_a_hold_that_ends_by_itself_is_not_shown_any_more(journal: Journal, operator: MemoryRelay) -> None:
    desk = Desk(journal, operator, least_hold_s=0.2)
    async with desk.running():
        desk.emit(Limited(Limit("429")))
        assert desk.work.limit is not None
        await until(lambda: desk.work.limit is None)


async def test_what_the_relay_does_not_take_is_said_later(
    journal: Journal, operator: MemoryRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(journal, operator)
    desk.holding.event(Limited(Limit("429", time.time() + 3600)))
    message = Message(id=7, sender="agent:ann", to="agent:bob", body="hi", created_at=1.0, expires_at=9e9)
    entry = Entry(message, 1)

    async def away(message_id: int, receipt: Receipt) -> Delivery:
        raise RelayUnavailable("away")

    monkeypatch.setattr(desk.relay, "receipt", away)
    assert not await desk.holding.tell([entry])
    assert entry.held is None and not await desk.holding.tell([entry])
