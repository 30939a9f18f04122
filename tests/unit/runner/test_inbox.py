import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.errors import ProviderRefused, RelayUnauthorized
from relay_runner.protocol.commands import NewTask, TaskState
from relay_runner.protocol.messages import MAX_ATTEMPTS, Delivery, MessageQuery, Outcome, Release, State, Timing
from relay_runner.providers.base import (
    ABSENT,
    Capabilities,
    Evidence,
    Held,
    ProcessState,
    Seen,
    StateChanged,
    Submission,
    SubmitResult,
    Submitted,
    TurnState,
    Uncertain,
)
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.journal import Journal, Stage
from tests.scripted import ScriptedProcess, takes_it
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


async def test_a_message_goes_in_and_its_receipts_come_out(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send("hello")
        (submission,) = await desk.process.until(1)
        assert "\nhello\n" in submission.text
        assert (await desk.reaches(id, State.SUBMITTED)).nonce == submission.nonce
        desk.sees(submission)
        assert (await desk.reaches(id, State.SEEN)).evidence == "script"
        desk.ends(submission)
        done = await desk.reaches(id, State.DONE)
        assert (done.outcome, done.result) == (Outcome.COMPLETED, "text")
        assert done.read_at is not None


async def test_one_at_a_time_and_in_order(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        ids = [await desk.send(str(n)) for n in range(3)]
        for count, id in enumerate(ids, 1):
            submission = (await desk.process.until(count))[-1]
            assert submission.message.id == id
            desk.sees(submission)
            await desk.reaches(id, State.SEEN)
            assert len(desk.process.submissions) == count, "the next one waits for the end of the turn"
            desk.ends(submission)


async def test_a_backlog_is_taken_at_the_start(journal: Journal) -> None:
    operator = MemoryRelay()
    first = Desk(journal, operator)
    async with first.running(None):
        pass
    id = await first.send("while nobody was there")
    second = Desk(journal, operator, instance_id="i2")
    async with second.running():
        assert (await second.process.until(1))[0].message.id == id


async def test_the_same_delivery_offered_again_and_again_goes_in_once(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        for _ in range(5):
            await desk.presence.fetch_backlog()
        desk.sees(submission)
        await desk.presence.fetch_backlog()
        desk.ends(submission)
        await desk.reaches(id, State.DONE)
        await desk.presence.fetch_backlog()
        last = await desk.send("last")
        assert [one.message.id for one in await desk.process.until(2)] == [id, last]


async def test_not_5_a_swallowed_read_mark_and_a_poll_deliver_nothing_twice(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistake 5: a swallowed read mark plus the poll delivers twice."""
    desk = Desk(journal, MemoryRelay())

    async def swallowed(message_id: int) -> None:
        return None

    monkeypatch.setattr(desk.relay, "read", swallowed)
    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        unread = MessageQuery(recipient="agent:bob", unread=True)

        async def polled() -> None:
            await desk.presence.fetch_backlog()
            desk.inbox.offer_all(await desk.relay.messages(unread))

        for step in (lambda: desk.sees(submission), lambda: desk.ends(submission), lambda: None):
            step()
            await polled()
        assert (await desk.reaches(id, State.DONE)).read_at is None, "the mark was swallowed"
        await polled()
        last = await desk.send("last")
        assert [one.message.id for one in await desk.process.until(2)] == [id, last]


async def test_not_6_a_poll_does_not_requeue_what_is_on_its_way_in(journal: Journal) -> None:
    """Mistake 6: a poll requeues a message in delivery."""
    operator = MemoryRelay()
    desk = Desk(journal, operator)
    submit, polled = desk.process.submit, 0

    async def slow(submission: Submission) -> SubmitResult:
        nonlocal polled
        for _ in range(3):  # while the channel works, before the journal knows that it took the message
            await desk.presence.fetch_backlog()
            polled += 1
        return await submit(submission)

    desk.process.submit = slow  # type: ignore[method-assign]
    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        assert polled == 3 and desk.inbox.queued == 0
        desk.sees(submission)
        desk.ends(submission)
        assert (await desk.reaches(id, State.DONE)).attempt == 1
        last = await desk.send("last")
        assert [one.message.id for one in await desk.process.until(2)] == [id, last]


async def test_not_15_idle_without_an_end_of_the_turn_is_not_done(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistake 15: idle from a failed or interrupted turn marks done."""
    monkeypatch.setattr("relay_runner.runner.flights.SETTLE_S", 0.02)
    operator = MemoryRelay()
    desk = Desk(journal, operator, evidence_s=0.1)
    async with desk.running():
        task = await operator.create_task(NewTask(subject="paint"))
        id = await desk.send(payload={"taskId": task.id})
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await desk.reaches(id, State.SEEN)
        desk.process.records[submission.nonce] = Evidence(True, "records", TurnState.RUNNING)
        desk.process.becomes(ProcessState.IDLE)
        assert (await desk.reaches(id, State.DONE)).outcome is Outcome.INTERRUPTED
        assert (await operator.get_task(task.id)).state is TaskState.FAILED


async def test_a_claim_waits_alive_for_the_next_process_and_is_given_back_at_the_end(journal: Journal) -> None:
    """Promise: restart: claims of the old process are settled or handed back."""
    desk = Desk(journal, MemoryRelay(), script=lambda process, submission: Uncertain("going down"))
    async with desk.running():
        id = await desk.send(to="tag:worker", claimable=True)
        (first,) = await desk.process.until(1)
        await desk.inbox.detach()  # the records of the dead process do not know it
        assert [(claim.message_id, desk.inbox.queued) for claim in desk.claims.held()] == [(id, 1)]
        assert (await desk.delivery(id)).recipient == "agent:bob"
        second = ScriptedProcess(desk.emit)
        await desk.inbox.attach(second, "p2")
        (again,) = await second.until(1)
        assert again.message.id == id and again.nonce != first.nonce
        assert (await desk.reaches(id, State.SUBMITTED)).attempt == 1


async def test_not_8_no_claim_of_a_dead_process_goes_on_being_renewed(journal: Journal) -> None:
    """Mistake 8: a restart leaves claims of the dead session renewing."""
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        seen, waits = await desk.send("seen"), await desk.send("waits", to="tag:worker", claimable=True)
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await desk.reaches(seen, State.SEEN)
        await desk.inbox.detach()
        assert (await desk.reaches(seen, State.DONE)).outcome is Outcome.INTERRUPTED
        await desk.receipts.flushed(5)
        assert desk.claims.held() == []
        await desk.inbox.hand_back()
        assert (await desk.delivery(waits)).recipient is None


async def test_what_a_dead_program_told_as_seen_and_never_had_goes_in_again(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id, later = await desk.send("first"), await desk.send("second")
        (old,) = await desk.process.until(1)
        desk.sees(old)
        await desk.reaches(id, State.SEEN)
        desk.process.records[old.nonce] = ABSENT
        await desk.inbox.detach()
        desk.emit(StateChanged(ProcessState.IDLE, "script"))
        fresh = ScriptedProcess(desk.emit)
        await desk.inbox.attach(fresh, "p2")
        (again,) = await fresh.until(1)
        assert again.message.id == id and again.nonce != old.nonce
        taken_back = await desk.reaches(id, State.SUBMITTED)
        assert (taken_back.nonce, taken_back.evidence, taken_back.failures) == (again.nonce, None, 1)
        desk.process = fresh
        desk.sees(again)
        desk.ends(again)
        assert (await desk.reaches(id, State.DONE)).outcome is Outcome.COMPLETED
        assert (await fresh.until(2))[1].message.id == later


async def test_what_was_taken_back_is_given_back_when_the_agent_stops(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send("first")
        (old,) = await desk.process.until(1)
        desk.sees(old)
        await desk.reaches(id, State.SEEN)
        desk.process.records[old.nonce] = ABSENT
        await desk.inbox.detach()
        await desk.inbox.hand_back()
        queued = await desk.reaches(id, State.QUEUED)
        assert (queued.attempt, queued.reason) == (2, "the agent stopped, and the provider never had it")


async def test_a_message_that_ends_every_program_before_it_is_written_down_is_dead(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id, old = await desk.send("poison"), ""
        for number in range(MAX_ATTEMPTS):
            (one,) = await desk.process.until(1)
            assert one.nonce != old
            old = one.nonce
            desk.process.emit(Seen(one.nonce, "script"))
            await desk.reaches(id, State.SEEN)
            desk.process.records[one.nonce] = ABSENT
            await desk.inbox.detach()
            desk.process = ScriptedProcess(desk.emit)
            await desk.inbox.attach(desk.process, f"next{number}")
        dead = await desk.reaches(id, State.DEAD)
        assert (dead.reason or "").startswith("5 attempts failed")
        await until(lambda: desk.inbox.queued == 0)
        assert desk.process.submissions == []


async def test_held_is_told_to_the_sender_and_tried_again(journal: Journal) -> None:
    answers: list[SubmitResult] = [Held("person typing", 0.05), Held("person typing", 0.05)]

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        return answers.pop() if answers else Submitted("script")

    desk = Desk(journal, MemoryRelay(), script=script)
    async with desk.running():
        id = await desk.send()
        submissions = await desk.process.until(3)
        assert len({submission.nonce for submission in submissions}) == 1, "nothing entered: it is the same try"
        delivery = await desk.reaches(id, State.SUBMITTED)
        assert delivery.attempt == 1, "being held is not a failed attempt"


async def test_what_is_held_says_why(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay(), script=lambda process, submission: Held("dialog open", 3600.0))
    async with desk.running():
        id = await desk.send()
        async with asyncio.timeout(10):
            async for record in desk.operator.watch(id):
                if record.deliveries[0].held:
                    break
        assert (await desk.delivery(id)).held == "dialog open"
        assert [row.stage for row in journal.open()] == [Stage.SUBMITTING], "nothing entered, and we know it"


async def test_a_held_message_that_a_poll_shows_again_stays_one(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay(), script=lambda process, submission: Held("person typing", 0.05))
    async with desk.running():
        id = await desk.send()
        for count in range(1, 4):
            await desk.process.until(count)
            await desk.presence.fetch_backlog()
        desk.process.script = takes_it
        await desk.reaches(id, State.SUBMITTED)
        assert desk.inbox.queued == 0


async def test_a_refused_submission_is_tried_five_times_and_ends_dead_with_the_reason(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        raise ProviderRefused("the composer is broken")

    monkeypatch.setattr("relay_runner.runner.backoff.of_attempt", lambda attempt: 0.02)
    desk = Desk(journal, MemoryRelay(), script=script)
    async with desk.running():
        id = await desk.send()
        dead = await desk.reaches(id, State.DEAD)
        assert "the composer is broken" in (dead.reason or "")
        assert len(desk.process.submissions) == 5


async def test_not_10_one_bad_message_never_touches_its_neighbours(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistake 10: one bad message redelivers the batch."""

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        if "bad" in submission.message.body:
            raise ProviderRefused("bad")
        return Submitted("script")

    monkeypatch.setattr("relay_runner.runner.backoff.of_attempt", lambda attempt: 0.02)
    desk = Desk(journal, MemoryRelay(), script=script)
    async with desk.running():
        bad = await desk.send("bad")
        good = await desk.send("good")
        while not any(one.message.id == good for one in desk.process.submissions):
            await desk.process.until(len(desk.process.submissions) + 1)
        submission = next(one for one in desk.process.submissions if one.message.id == good)
        desk.sees(submission)
        desk.ends(submission)
        await desk.reaches(good, State.DONE)
        await desk.reaches(bad, State.DEAD)
        assert [one.message.id for one in desk.process.submissions].count(good) == 1


async def test_uncertain_is_never_submitted_again(journal: Journal) -> None:
    desk = Desk(
        journal, MemoryRelay(), script=lambda process, submission: Uncertain("tmux did not answer"), evidence_s=0.1
    )
    async with desk.running():
        id = await desk.send()
        unknown = await desk.reaches(id, State.UNKNOWN)
        assert "no evidence" in (unknown.reason or "")
        assert len(desk.process.submissions) == 1


async def test_uncertain_with_evidence_is_seen(journal: Journal) -> None:
    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        process.records[submission.nonce] = Evidence(True, "records", TurnState.ENDED, Outcome.COMPLETED, "found")
        return Uncertain("tmux did not answer")

    desk = Desk(journal, MemoryRelay(), script=script)
    async with desk.running():
        assert (await desk.reaches(await desk.send(), State.DONE)).result == "found"


async def test_a_person_can_have_an_unknown_one_delivered_again(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay(), evidence_s=0.1)
    async with desk.running():
        id = await desk.send()
        await desk.reaches(id, State.UNKNOWN)
        await desk.operator.redeliver(id)
        first, second = await desk.process.until(2)
        assert first.message.id == second.message.id and first.nonce != second.nonce


async def test_steer_goes_into_the_running_turn_and_queue_does_not(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        running = await desk.send("run")
        (turn,) = await desk.process.until(1)
        desk.sees(turn)
        await desk.reaches(running, State.SEEN)
        queued = await desk.send("queued")
        steered = await desk.send("steered", timing=Timing.STEER)
        _, steer = await desk.process.until(2)
        assert steer.message.id == steered
        desk.sees(steer)
        desk.ends(steer)
        desk.ends(turn)
        assert (await desk.process.until(3))[2].message.id == queued


async def test_interrupt_ends_the_running_turn_first(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        running = await desk.send("run")
        (turn,) = await desk.process.until(1)
        desk.sees(turn)
        await desk.reaches(running, State.SEEN)
        urgent = await desk.send("now", timing=Timing.INTERRUPT)
        await until(lambda: desk.process.interrupts > 0)
        desk.ends(turn, Outcome.INTERRUPTED)
        assert (await desk.process.until(2))[1].message.id == urgent
        assert (await desk.reaches(running, State.DONE)).outcome is Outcome.INTERRUPTED


async def test_without_evidence_it_ends_unproven_with_what_the_screen_said(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay(), capabilities=Capabilities(results=True))
    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        assert (await desk.reaches(id, State.SUBMITTED)).evidence is None
        desk.sees(submission)
        desk.ends(submission, result="from the screen")
        async with asyncio.timeout(10):
            async for record in desk.operator.watch(id):
                if record.deliveries[0].result == "from the screen":
                    break
        assert (await desk.delivery(id)).evidence == "unproven"
        assert (await desk.delivery(id)).claim_expires_at is None, "nothing more is to come: no lease to run out"


async def test_twenty_runners_and_one_claimable_message_have_one_winner(tmp_path: Path) -> None:
    operator = MemoryRelay()
    async with asyncio.TaskGroup() as group:
        stop, joined = asyncio.Event(), asyncio.Barrier(21)
        desks: list[Desk] = []

        async def run(name: str) -> None:
            with Journal(tmp_path / f"{name}.db") as journal:
                desk = Desk(journal, operator, name)
                desks.append(desk)
                async with desk.running():
                    await joined.wait()
                    await stop.wait()

        for number in range(20):
            group.create_task(run(f"agent-{number}"))
        await joined.wait()
        id = await desks[0].send("who wants it", to="tag:worker", claimable=True)
        delivery = await desks[0].reaches(id, State.SUBMITTED)
        winners = [desk for desk in desks if desk.process.submissions]
        assert [f"agent:{desk.agent_id}" for desk in winners] == [delivery.recipient]
        stop.set()


async def test_a_busy_agent_leaves_a_claimable_message_to_others(journal: Journal, tmp_path: Path) -> None:
    operator = MemoryRelay()
    busy = Desk(journal, operator, "busy")
    async with busy.running():
        await busy.send("work")
        (turn,) = await busy.process.until(1)
        busy.sees(turn)
        id = await busy.send("who wants it", to="tag:worker", claimable=True)
        with Journal(tmp_path / "idle.db") as other:
            idle = Desk(other, operator, "idle")
            async with idle.running():
                assert (await idle.process.until(1))[0].message.id == id
        assert len(busy.process.submissions) == 1


@pytest.mark.parametrize("claimable", [False, True])
async def test_a_lease_that_is_refused_leaves_nothing_behind_that_hides_the_message(
    journal: Journal, claimable: bool
) -> None:
    """The journal knows it as on its way in, the relay as queued: what it shows again goes in."""
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        desk.process.becomes(ProcessState.BUSY)
        id = await desk.send(claimable=claimable)
        message = (await desk.operator.message(id)).message
        journal.begin(message, 1, "p1", 0.0)
        desk.inbox._leftovers.wait_again(message, 1)
        await desk.claims._renew(desk.claims.held()[0])
        assert (desk.claims.held(), journal.open()) == ([], [])
        await desk.presence.fetch_backlog()
        desk.process.becomes(ProcessState.IDLE)
        assert (await desk.process.until(1))[0].message.id == id


async def test_what_did_not_enter_a_program_that_is_not_started_again_waits_for_the_next_runner(
    journal: Journal,
) -> None:
    """Else its lease runs out while nobody is here, and it ends as unknown."""
    operator = MemoryRelay()
    first = Desk(journal, operator)
    async with first.running("p1"):
        id = await first.send()
        await first.process.until(1)
        await first.reaches(id, State.SUBMITTED)
        await first.inbox.detach()
        await first.inbox.hand_back()
        delivery = await first.delivery(id)
        assert (delivery.state, delivery.reason) == (State.QUEUED, "the agent stopped")
    second = Desk(journal, operator, instance_id="i2")
    async with second.running("p2"):
        assert (await second.process.until(1))[0].message.id == id


async def test_one_claim_that_is_lost_does_not_keep_the_others(journal: Journal, tmp_path: Path) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running(None):
        ids = [await desk.send(to="tag:worker", claimable=True) for _ in range(2)]
        for id in ids:
            result = await desk.relay.claim(id, desk.claims.request(1))
            assert result.delivery is not None
            desk.inbox.offer((await desk.operator.message(id)).message, result.delivery)
        await desk.relay.release(ids[0], desk.claims.release(1, "somebody else did"))
        await desk.inbox.hand_back()
        assert [(await desk.delivery(id)).state for id in ids] == [State.QUEUED, State.QUEUED]


async def test_what_cannot_be_given_back_is_known_to_the_next_runner(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = MemoryRelay()
    first = Desk(journal, operator)

    async def refuses(message_id: int, release: Release) -> Delivery:
        raise RelayUnauthorized("the token was revoked")

    async with first.running("p1"):
        id = await first.send()
        await first.process.until(1)
        await first.reaches(id, State.SUBMITTED)
        await first.inbox.detach()
        monkeypatch.setattr(first.relay, "release", refuses)
        await first.inbox.hand_back()
    second = Desk(journal, operator, instance_id="i2", evidence_s=0.1)
    async with second.running("p2"):
        assert (await second.process.until(1))[0].message.id == id


async def test_what_comes_after_a_runner_left_its_process_is_the_next_ones(journal: Journal) -> None:
    operator = MemoryRelay()
    first = Desk(journal, operator)
    async with first.running("p1"):
        await first.inbox.leave()
        id = await first.send()
        await until(lambda: first.inbox.queued == 1)
    second = Desk(journal, operator, instance_id="i2")
    async with second.running("p1"):
        assert (await second.process.until(1))[0].message.id == id
    assert first.process.submissions == []


async def test_a_runner_leaves_its_process_when_the_message_on_its_way_in_is_in(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(journal, MemoryRelay())
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow(submission: Submission) -> SubmitResult:
        begun.set()
        await gate.wait()
        return Submitted("script")

    monkeypatch.setattr(desk.process, "submit", slow)
    async with desk.running("p1"):
        await desk.send()
        await begun.wait()
        leaving = asyncio.ensure_future(desk.inbox.leave())
        await asyncio.wait([leaving], timeout=0.05)
        assert not leaving.done()
        gate.set()
        await leaving
        assert [row.stage for row in journal.open()] == [Stage.SUBMITTED]


async def test_a_superseded_runner_is_fenced(journal: Journal, tmp_path: Path) -> None:
    operator = MemoryRelay()
    old = Desk(journal, operator)
    async with old.running():
        id = await old.send()
        (submission,) = await old.process.until(1)
        old.sees(submission)
        await old.reaches(id, State.SEEN)
        with Journal(tmp_path / "new.db") as other:
            new = Desk(other, operator, instance_id="i2")
            async with new.running(None):
                await until(lambda: bool(old.superseded))
                old.ends(submission, result="from the old one")
                await old.receipts.flushed(5)
                assert (await new.delivery(id)).state is State.SEEN, "the old one's word counts no more"
