import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.errors import RelayUnavailable
from relay_runner.protocol.messages import Delivery, Outcome, Receipt, State
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.journal import Journal
from relay_runner.runner.receipts import Receipts
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


class _Flaky(MemoryRelay):
    """A relay that cannot be reached for a while."""

    down = True

    async def receipt(self, message_id: int, receipt: Receipt) -> Delivery:
        if self.down:
            raise RelayUnavailable("down")
        return await super().receipt(message_id, receipt)


async def test_nothing_is_sent_before_the_relay_was_joined(journal: Journal) -> None:
    joined = asyncio.Event()
    receipts = Receipts(MemoryRelay(), journal, "bob", "i1", joined)
    receipts.post(1, receipts.make(1, State.SEEN, "n", evidence="e"))
    assert not await receipts.flushed(0.05)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(receipts.run())
        assert not await receipts.flushed(0.05)
        joined.set()
        assert await receipts.flushed(5), "refused by the relay, so there is nothing left to send"
        task.cancel()
    assert journal.outbox() == []


async def test_a_relay_that_is_away_gets_them_later_and_in_order(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    flaky = _Flaky(desk.operator.hub)
    flaky.use_token(desk.relay._token)
    desk.receipts._relay = flaky
    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        desk.ends(submission)
        await until(lambda: len(journal.outbox()) == 3)
        assert (await desk.delivery(id)).state is State.SUBMITTING
        flaky.down = False
        done = await desk.reaches(id, State.DONE)
        assert (done.outcome, done.evidence) == (Outcome.COMPLETED, "script")
    assert journal.outbox() == []


async def test_what_a_predecessor_left_goes_out_under_our_name(journal: Journal) -> None:
    operator = MemoryRelay()
    first = Desk(journal, operator)
    async with first.running():
        id = await first.send()
        (submission,) = await first.process.until(1)
        await first.reaches(id, State.SUBMITTED)
    first.sees(submission)  # the runner died with these in its outbox
    first.ends(submission)
    assert len(journal.outbox()) == 2
    second = Desk(journal, operator, instance_id="i2")
    async with second.running(None):
        done = await second.reaches(id, State.DONE)
        assert (done.instance_id, done.result) == ("i2", "text")
