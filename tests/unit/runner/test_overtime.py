"""Promise: start of a session: a whole-turn timeout, outcome failed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay_runner.errors import ProviderUnsupported
from relay_runner.protocol.messages import Outcome, State
from relay_runner.providers.base import Capabilities
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.flight import overdue_fact
from relay_runner.runner.journal import Journal
from relay_runner.runner.overtime import Overtime
from tests.terminals import until
from tests.unit.runner.desk import ALL, Desk

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def watched(folder: Path, limit_s: float | None, capabilities: Capabilities = ALL) -> AsyncIterator[Desk]:
    with Journal(folder / "journal.db") as journal:
        desk = Desk(journal, MemoryRelay(), capabilities=capabilities)
        overtime = Overtime(limit_s, flights=desk.flights, journal=journal, process=lambda: desk.process)
        async with desk.running(), asyncio.TaskGroup() as group:
            running = group.create_task(overtime.run())
            yield desk
            running.cancel()


async def test_a_turn_that_takes_too_long_is_interrupted_and_has_failed(tmp_path: Path) -> None:
    async with watched(tmp_path, 0.1) as desk:
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        await asyncio.sleep(0.15)
        assert desk.process.interrupts == 0, "counted from the proof that the model has it"
        desk.sees(submission)
        await until(lambda: desk.process.interrupts == 1)
        desk.ends(submission, Outcome.INTERRUPTED)
        done = await desk.reaches(id, State.DONE)
        assert (done.outcome, done.reason) == (Outcome.FAILED, "the turn took longer than 0.1 s")
        assert desk.journal.facts("overdue:") == {}


async def test_without_evidence_the_time_is_counted_from_the_submission(tmp_path: Path) -> None:
    async with watched(tmp_path, 0.05, Capabilities(results=True, interrupt=True)) as desk:
        await desk.send()
        await desk.process.until(1)
        await until(lambda: desk.process.interrupts == 1)


async def test_a_turn_that_completed_just_in_time_stays_completed(tmp_path: Path) -> None:
    async with watched(tmp_path, 0.05) as desk:
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await until(lambda: desk.process.interrupts == 1)
        desk.ends(submission)
        assert (await desk.reaches(id, State.DONE)).outcome is Outcome.COMPLETED


async def test_what_does_not_stop_is_interrupted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_runner.runner.overtime.AGAIN_S", 0.05)
    async with watched(tmp_path, 0.05) as desk:
        tries = 0

        async def refuse() -> None:
            nonlocal tries
            tries += 1
            raise ProviderUnsupported("not now")

        desk.process.interrupt = refuse  # type: ignore[method-assign]
        await desk.send()
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await until(lambda: tries == 3)


async def test_a_successor_knows_why_it_was_interrupted(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        operator = MemoryRelay()
        desk = Desk(journal, operator)
        async with desk.running():
            id = await desk.send()
            (submission,) = await desk.process.until(1)
            desk.sees(submission)
            await desk.reaches(id, State.SEEN)
            journal.remember(overdue_fact(submission.nonce), "the turn took longer than 9 s")
        successor = Desk(journal, operator, instance_id="i2")
        async with successor.running():
            successor.ends(submission, Outcome.INTERRUPTED)
            done = await successor.reaches(id, State.DONE)
            assert (done.outcome, done.reason) == (Outcome.FAILED, "the turn took longer than 9 s")


async def test_without_a_limit_nothing_is_interrupted(tmp_path: Path) -> None:
    async with watched(tmp_path, None) as desk:
        await desk.send()
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await asyncio.sleep(0.05)
        assert desk.process.interrupts == 0
