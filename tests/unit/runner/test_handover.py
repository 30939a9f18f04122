"""What `test_inbox` does not reach: how often a held message is told, and a relay that is away in a hand-over."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.errors import ProtocolError, ProviderRefused, RelayUnauthorized, RelayUnavailable, TerminalError
from relay_runner.protocol.messages import ClaimRequest, ClaimResult, Delivery, Receipt, Release, State
from relay_runner.providers.base import Held, ProcessState, Submission, SubmitResult, Submitted
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner import handover
from relay_runner.runner.journal import Journal
from tests.scripted import ScriptedProcess
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


async def test_what_stays_held_is_told_once(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MAX_HELD_S", 0.02)
    said: list[tuple[State, str | None]] = []
    desk = Desk(journal, MemoryRelay())
    receipt = desk.relay.receipt

    async def note(message_id: int, given: Receipt) -> Delivery:
        said.append((given.state, given.held))
        return await receipt(message_id, given)

    looks = 0

    async def obstacle(submission: Submission) -> Held | None:
        nonlocal looks
        looks += 1
        return Held("dialog open", 0.01) if looks < 6 else None

    monkeypatch.setattr(desk.relay, "receipt", note)
    monkeypatch.setattr(desk.process, "obstacle", obstacle)
    async with desk.running():
        id = await desk.send()
        await desk.process.until(1)
        await desk.reaches(id, State.SUBMITTED)
    assert said[:4] == [
        (State.SUBMITTING, None), (State.QUEUED, "dialog open"), (State.SUBMITTING, None), (State.SUBMITTED, None),
    ]  # fmt: skip


async def test_what_only_a_try_finds_held_is_logged_once_and_tried_less_and_less(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handover, "MAX_HELD_S", 0.02)
    tries = 0

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        nonlocal tries
        tries += 1
        return Held("person typing", 0.01) if tries < 8 else Submitted("script")

    desk = Desk(journal, MemoryRelay(), script=script)
    with caplog.at_level(logging.INFO):
        async with desk.running():
            id = await desk.send()
            await desk.process.until(7)
            assert desk.obstacles.reason == "person typing"
            await desk.reaches(id, State.SUBMITTED)
            assert desk.obstacles.reason is None
    said = [record.getMessage() for record in caplog.records if record.name == handover.__name__]
    assert said.count(f"message {id} is held: person typing") == 1


async def test_what_waits_while_the_program_does_is_shown(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        desk.process.becomes(ProcessState.WAITING)
        await desk.send()
        await until(lambda: desk.obstacles.reason == "the program is waiting")
        desk.process.becomes(ProcessState.IDLE)
        await desk.process.until(1)
        await until(lambda: desk.obstacles.reason is None)


async def test_what_is_held_again_after_it_was_announced_does_not_stay_on_its_way_in(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "MAX_HELD_S", 0.02)
    looks: list[Held | None] = [Held("dialog open", 0.01), None, None]

    async def obstacle(submission: Submission) -> Held | None:
        return looks.pop(0) if looks else Held("dialog open", 0.01)

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        return Held("dialog open", 0.01)

    desk = Desk(journal, MemoryRelay(), script=script)
    monkeypatch.setattr(desk.process, "obstacle", obstacle)
    async with desk.running():
        id = await desk.send()
        await desk.process.until(1)

        async def told() -> bool:
            delivery = await desk.delivery(id)
            return (delivery.state, delivery.held) == (State.QUEUED, "dialog open")

        await until(told)
        assert desk.claims.held() == [], "nothing is held at the relay that a lease could run out of"


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("answer", [Held("dialog open", 0.01), ProviderRefused("not taken")])
async def test_the_proof_that_it_is_in_goes_before_what_the_channel_says(
    journal: Journal, answer: Held | ProviderRefused, ended: bool
) -> None:
    """Nothing is typed twice, whatever a channel takes for held or refused."""

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        desk.sees(submission)
        if ended:
            desk.ends(submission)
        if isinstance(answer, Exception):
            raise answer
        return answer

    desk = Desk(journal, MemoryRelay(), script=script)
    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        await desk.reaches(id, State.DONE if ended else State.SEEN)
        if not ended:
            desk.ends(submission)
            await desk.reaches(id, State.DONE)
        assert (desk.inbox.queued, journal.open(), len(desk.process.submissions)) == (0, [], 1)


async def test_a_hold_that_the_relay_could_not_be_told_of_keeps_the_lease(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        process._state = ProcessState.WAITING
        return Held("dialog open", 0.01)

    desk = Desk(journal, MemoryRelay(), script=script)
    receipt = desk.relay.receipt

    async def away(message_id: int, given: Receipt) -> Delivery:
        if given.state is State.QUEUED:
            raise RelayUnavailable("away")
        return await receipt(message_id, given)

    monkeypatch.setattr(desk.relay, "receipt", away)
    async with desk.running():
        id = await desk.send()
        await desk.process.until(1)
        await until(lambda: desk.inbox.queued == 1 and not desk.inbox.in_flight)
        assert (await desk.delivery(id)).state is State.SUBMITTING
        assert [claim.message_id for claim in desk.claims.held()] == [id]


async def test_a_message_on_its_way_in_that_has_to_wait_keeps_its_lease(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the relay would take it for one of which nobody knows whether it entered."""

    async def obstacle(submission: Submission) -> Held | None:
        desk.process.becomes(ProcessState.WAITING)
        raise TerminalError("its screen cannot be read")

    monkeypatch.setattr(handover, "RETRY_S", 0.01)
    desk = Desk(journal, MemoryRelay(), lease_s=0.6)
    monkeypatch.setattr(desk.process, "obstacle", obstacle)
    async with desk.running():
        id = await desk.send()
        first = (await desk.reaches(id, State.SUBMITTING)).claim_expires_at

        async def renewed() -> bool:
            return (await desk.delivery(id)).claim_expires_at != first

        await until(renewed)
        assert (await desk.delivery(id)).state is State.SUBMITTING
        monkeypatch.undo()
        desk.process.becomes(ProcessState.IDLE)
        await desk.process.until(1)
        await desk.reaches(id, State.SUBMITTED)


@pytest.mark.parametrize(
    "error", [RelayUnavailable("away"), RelayUnauthorized("expired"), ProtocolError("a proxy's page")]
)
async def test_a_relay_that_cannot_be_asked_loses_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(handover, "RETRY_S", 0.01)
    monkeypatch.setattr(handover, "UNAUTHORIZED_RETRY_S", 0.01)
    desk = Desk(journal, MemoryRelay())
    receipt, failures = desk.relay.receipt, [error, error]

    async def flaky(message_id: int, given: Receipt) -> Delivery:
        if given.state is State.SUBMITTING and failures:
            raise failures.pop()
        return await receipt(message_id, given)

    monkeypatch.setattr(desk.relay, "receipt", flaky)
    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        assert submission.message.id == id and not failures


async def test_not_16_a_network_error_during_a_claim_is_no_answer(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistake 16: a network error during a claim taken for "someone else has it"."""
    monkeypatch.setattr(handover, "RETRY_S", 0.01)
    desk = Desk(journal, MemoryRelay())
    claim, failures = desk.relay.claim, [RelayUnavailable("away"), RelayUnavailable("away")]

    async def flaky(message_id: int, request: ClaimRequest) -> ClaimResult:
        if failures:
            raise failures.pop()
        return await claim(message_id, request)

    monkeypatch.setattr(desk.relay, "claim", flaky)
    async with desk.running():
        id = await desk.send(to="tag:worker", claimable=True)
        (submission,) = await desk.process.until(1)
        assert submission.message.id == id and not failures
        assert (await desk.delivery(id)).recipient == "agent:bob"


async def test_a_refused_submission_that_nobody_can_be_told_of_is_tried_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relay_runner.errors import ProviderRefused

    monkeypatch.setattr("relay_runner.runner.backoff.of_attempt", lambda attempt: 0.01)

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        if len(process.submissions) < 3:
            raise ProviderRefused("not taken")
        return Submitted("script")

    desk = Desk(journal, MemoryRelay(), script=script)

    async def away(message_id: int, release: Release) -> Delivery:
        raise RelayUnavailable("away")

    monkeypatch.setattr(desk.relay, "release", away)
    async with desk.running():
        id = await desk.send()
        await desk.process.until(3)
        assert (await desk.reaches(id, State.SUBMITTED)).attempt == 1
