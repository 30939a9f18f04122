"""What was begun before, by a runner that is gone or in a program that ended; the rest is in `test_inbox`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.errors import ProviderExited
from relay_runner.protocol.messages import Outcome, State
from relay_runner.providers.base import (
    Evidence,
    ProcessState,
    Submission,
    SubmitResult,
    Submitted,
    TurnState,
)
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.journal import Journal, Stage
from tests.scripted import ScriptedProcess
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


@pytest.mark.parametrize("entered", [True, False])
async def test_a_successor_asks_the_records_about_what_its_predecessor_was_handing_over(
    journal: Journal, entered: bool
) -> None:
    operator = MemoryRelay()
    first = Desk(journal, operator)
    async with first.running():
        id = await first.send()
        (submission,) = await first.process.until(1)
        await first.reaches(id, State.SUBMITTED)
    second = Desk(journal, operator, instance_id="i2", evidence_s=0.1)
    if entered:
        ended = Evidence(True, "records", TurnState.ENDED, Outcome.COMPLETED, "done meanwhile")
        second.process.records[submission.nonce] = ended
    async with second.running("p1"):
        delivery = await second.reaches(id, State.DONE if entered else State.UNKNOWN)
        assert delivery.result == ("done meanwhile" if entered else None)
        assert second.process.submissions == []


async def test_what_never_entered_a_program_that_died_goes_into_the_next(journal: Journal) -> None:
    operator = MemoryRelay()
    first = Desk(journal, operator)
    async with first.running("p1"):
        id = await first.send()
        await first.process.until(1)
        await first.reaches(id, State.SUBMITTED)
    second = Desk(journal, operator, instance_id="i2")
    async with second.running("p2"):
        (submission,) = await second.process.until(1)
        assert submission.message.id == id
        second.sees(submission)
        second.ends(submission)
        await second.reaches(id, State.DONE)


async def test_what_never_entered_is_known_also_to_the_runner_after_the_one_that_found_out(journal: Journal) -> None:
    operator = MemoryRelay()
    first = Desk(journal, operator)
    async with first.running("p1"):
        id = await first.send()
        await first.process.until(1)
        await first.reaches(id, State.SUBMITTED)
        await first.inbox.detach()  # and here the runner is killed
    second = Desk(journal, operator, instance_id="i2", evidence_s=0.1)
    async with second.running("p2"):
        assert (await second.process.until(1))[0].message.id == id


async def test_a_program_that_dies_under_a_submission_is_asked_when_it_is_gone(journal: Journal) -> None:
    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        if len(process.submissions) == 1:
            raise ProviderExited("it died")
        return Submitted("script")

    desk = Desk(journal, MemoryRelay(), script=script)
    async with desk.running("p1"):
        id = await desk.send()
        await desk.process.until(1)
        await desk.inbox.detach()
        await desk.inbox.attach(desk.process, "p2")
        _, again = await desk.process.until(2)
        assert again.message.id == id


async def test_a_delivery_that_only_the_relay_remembers_is_not_submitted_again(
    journal: Journal, tmp_path: Path
) -> None:
    operator = MemoryRelay()
    first = Desk(journal, operator)
    async with first.running():
        id = await first.send()
        (submission,) = await first.process.until(1)
        await first.reaches(id, State.SUBMITTED)
    with Journal(tmp_path / "another.db") as empty:
        second = Desk(empty, operator, instance_id="i2", evidence_s=0.1)
        async with second.running("p9"):
            await second.reaches(id, State.UNKNOWN)
            assert second.process.submissions == []
            row = empty.by_nonce(submission.nonce)
            assert row is not None and row.stage is Stage.SETTLED


async def test_what_an_earlier_runner_had_claimed_and_not_begun_stays_claimed_while_the_agent_is_busy(
    journal: Journal,
) -> None:
    operator = MemoryRelay()
    first = Desk(journal, operator)
    async with first.running(None):
        id = await first.send(to="tag:worker", claimable=True)
        assert (await first.relay.claim(id, first.claims.request(1))).granted
    second = Desk(journal, operator, instance_id="i2", lease_s=0.6)

    second.process._state = ProcessState.BUSY
    async with second.running("p1"):
        inherited = (await second.delivery(id)).claim_expires_at

        async def renewed() -> bool:
            return (await second.delivery(id)).claim_expires_at != inherited

        await until(renewed)
        assert (await second.delivery(id)).state is State.CLAIMED
