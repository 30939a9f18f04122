"""Promise: obligations: a reply that is asked for and did not come is asked for once more, once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.errors import ProviderRefused, RelayUnavailable
from relay_runner.protocol.messages import MessageQuery, MessageRecord, NewMessage, NewReply, Outcome, State, Timing
from relay_runner.providers.base import (
    Capabilities,
    Evidence,
    Held,
    Limit,
    Limited,
    ProcessState,
    StateChanged,
    Submission,
    SubmitResult,
    Submitted,
    TurnEnded,
    TurnState,
    Uncertain,
)
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner import reminding
from relay_runner.runner.journal import Journal, Stage
from tests.scripted import ScriptedProcess
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


async def turn(desk: Desk, count: int, outcome: Outcome = Outcome.COMPLETED, result: str = "text") -> Submission:
    """Let the provider carry the `count`-th thing that was put in through a whole turn."""
    submission = (await desk.process.until(count))[-1]
    desk.sees(submission)
    desk.ends(submission, outcome, result)
    return submission


async def test_a_message_without_its_reply_is_put_to_the_agent_once_and_settles_after_that_turn(
    journal: Journal,
) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send("may I?", reply_required=True)
        first = await turn(desk, 1, result="its own end")
        reminder = (await desk.process.until(2))[1]
        assert f"Message {id} from person:operator still wants a reply" in reminder.text
        assert "may I?" not in reminder.text and reminder.nonce != first.nonce
        assert (await desk.delivery(id)).state is State.SEEN, "it settles after the turn of the reminder"
        assert [claim.message_id for claim in desk.claims.held()] == [id]
        desk.sees(reminder)
        await desk.relay.reply(id, NewReply(body="you may"))
        desk.ends(reminder, result="replied")
        done = await desk.reaches(id, State.DONE)
        assert (done.outcome, done.result, done.attempt, done.nonce) == (
            Outcome.COMPLETED, "its own end", 1, first.nonce,
        )  # fmt: skip
        last = await desk.send("next")
        assert (await desk.process.until(3))[-1].message.id == last
        await until(lambda: desk.claims.held() != [] and desk.claims.held()[0].message_id == last)


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.FAILED, Outcome.INTERRUPTED])
async def test_however_the_reminder_ends_it_is_never_asked_again(journal: Journal, outcome: Outcome) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send(reply_required=True)
        await turn(desk, 1)
        await turn(desk, 2, outcome)
        assert (await desk.reaches(id, State.DONE)).outcome is Outcome.COMPLETED
        last = await desk.send("next")
        assert [one.message.id for one in await desk.process.until(3)] == [id, id, last]


async def test_what_else_the_turn_carried_is_told_after_the_reminder(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        asked = await desk.send("asked", reply_required=True)
        (first,) = await desk.process.until(1)
        desk.sees(first)
        steered = await desk.send("steered", timing=Timing.STEER)
        second = (await desk.process.until(2))[1]
        desk.process.emit(TurnEnded(Outcome.COMPLETED, "script", (first.nonce, second.nonce), "both"))
        desk.process.becomes(ProcessState.IDLE)
        assert (await desk.reaches(steered, State.DONE)).carried == (asked, steered)
        await turn(desk, 3)
        done = await desk.reaches(asked, State.DONE)
        assert (done.result, done.carried) == ("both", (asked, steered))


@pytest.mark.parametrize("reminder_first", [True, False])
@pytest.mark.parametrize("asks", ["ann", "operator"])
async def test_a_message_steered_into_a_reminders_turn_gets_its_text_only_from_a_sender_of_both(
    journal: Journal, reminder_first: bool, asks: str
) -> None:
    desk = Desk(journal, MemoryRelay())
    ann = MemoryRelay.of_agent("ann", desk.operator.hub)
    async with desk.running():
        new = NewMessage(to="bob", body="asked", reply_required=True)
        asked = (await (ann if asks == "ann" else desk.operator).send(new)).message.id
        await turn(desk, 1)
        reminder = (await desk.process.until(2))[1]
        desk.sees(reminder)
        steered = (await ann.send(NewMessage(to="bob", body="steered", timing=Timing.STEER))).message.id
        nonces = (reminder.nonce, (await desk.process.until(3))[2].nonce)
        nonces = nonces if reminder_first else nonces[::-1]
        desk.process.emit(TurnEnded(Outcome.COMPLETED, "script", nonces, "both"))
        desk.process.becomes(ProcessState.IDLE)
        done = await desk.reaches(steered, State.DONE)
        assert (done.result, done.carried) == ("both" if asks == "ann" else None, (asked, steered))
        assert (await desk.reaches(asked, State.DONE)).carried == ()


async def test_a_reply_in_its_turn_needs_no_reminder(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send(reply_required=True)
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await desk.relay.reply(id, NewReply(body="yes"))
        desk.ends(submission)
        await desk.reaches(id, State.DONE)
        last = await desk.send("next")
        assert [one.message.id for one in await desk.process.until(2)] == [id, last]


@pytest.mark.parametrize(
    ("wants", "outcome"), [(False, Outcome.COMPLETED), (True, Outcome.FAILED), (True, Outcome.INTERRUPTED)]
)
async def test_nothing_is_asked_for_what_wants_none_or_did_not_complete(
    journal: Journal, wants: bool, outcome: Outcome
) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send(reply_required=wants)
        await turn(desk, 1, outcome)
        assert (await desk.reaches(id, State.DONE)).outcome is outcome
        assert len(desk.process.submissions) == 1


async def test_the_reminder_goes_before_what_waits(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send(reply_required=True)
        waits = await desk.send("next")
        await turn(desk, 1)
        await turn(desk, 2)
        assert [one.message.id for one in await desk.process.until(3)] == [id, id, waits]


async def test_a_program_that_can_prove_nothing_is_not_reminded(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay(), capabilities=Capabilities(results=True))
    async with desk.running():
        id = await desk.send(reply_required=True)
        (submission,) = await desk.process.until(1)
        desk.process.becomes(ProcessState.BUSY)
        desk.ends(submission)
        assert (await desk.reaches(id, State.SUBMITTED)).nonce == submission.nonce
        last = await desk.send("next")
        assert [one.message.id for one in await desk.process.until(2)] == [id, last]


# --- within the turn --------------------------------------------------------------------------------------------------


async def test_a_provider_that_asks_before_the_end_puts_it_into_the_same_turn(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        plain, asked = await desk.send("plain"), await desk.send("asked", reply_required=True)
        first = await turn(desk, 1)
        assert await desk.reminding.owed((first.nonce, "of nobody")) is None
        await desk.reaches(plain, State.DONE)
        submission = (await desk.process.until(2))[1]
        desk.sees(submission)
        text = await desk.reminding.owed((submission.nonce,))
        assert text is not None and f"relay-runner reply {asked} TEXT" in text
        assert await desk.reminding.owed((submission.nonce,)) is None, "once"
        desk.ends(submission, result="after the reminder")
        assert (await desk.reaches(asked, State.DONE)).result == "after the reminder"
        assert len(desk.process.submissions) == 2, "no second one after the turn"


async def test_what_cannot_be_asked_within_the_turn_is_asked_after_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reminding, "ANSWER_S", 0.05)
    monkeypatch.setattr(reminding, "RETRY_S", 0.01)
    desk = Desk(journal, MemoryRelay())
    ask, failures = desk.relay.messages, 3

    async def flaky(query: MessageQuery) -> list[MessageRecord]:
        nonlocal failures
        if query.reply_to is not None and failures:
            failures -= 1
            if failures == 2:
                await asyncio.Event().wait()
            raise RelayUnavailable("away")
        return await ask(query)

    monkeypatch.setattr(desk.relay, "messages", flaky)
    async with desk.running():
        id = await desk.send(reply_required=True)
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        assert await desk.reminding.owed((submission.nonce,)) is None
        desk.ends(submission)
        await turn(desk, 2)
        assert (await desk.reaches(id, State.DONE)).outcome is Outcome.COMPLETED and failures == 0


# --- what can go wrong with a reminder --------------------------------------------------------------------------------


async def test_a_reminder_that_is_held_goes_in_later_and_one_that_stays_held_is_left(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[SubmitResult] = [Held("person typing", 0.02)]

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        return answers.pop() if len(process.submissions) > 1 and answers else Submitted("script")

    desk = Desk(journal, MemoryRelay(), script=script)
    async with desk.running():
        id = await desk.send(reply_required=True)
        await turn(desk, 1)
        await turn(desk, 3)
        await desk.reaches(id, State.DONE)
        monkeypatch.setattr(reminding, "GIVE_UP_S", 0.05)

        async def obstacle(submission: Submission) -> Held | None:
            return Held("person typing", 0.01) if "still wants" in submission.text else None

        monkeypatch.setattr(desk.process, "obstacle", obstacle)
        left = await desk.send(reply_required=True)
        await turn(desk, 4)
        assert (await desk.reaches(left, State.DONE)).outcome is Outcome.COMPLETED
        assert len(desk.process.submissions) == 4


async def test_a_person_who_has_a_turn_of_their_own_holds_the_end_of_a_message_up_only_so_long(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reminding, "GIVE_UP_S", 0.05)
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send(reply_required=True)
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        desk.emit(TurnEnded(Outcome.COMPLETED, "script", (submission.nonce,), "text"))  # and the program stays busy
        assert (await desk.reaches(id, State.DONE)).result == "text"
        assert len(desk.process.submissions) == 1


async def test_a_reminder_that_the_program_refuses_is_left(journal: Journal) -> None:
    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        if len(process.submissions) > 1:
            raise ProviderRefused("not now")
        return Submitted("script")

    desk = Desk(journal, MemoryRelay(), script=script)
    async with desk.running():
        id = await desk.send(reply_required=True)
        await turn(desk, 1)
        assert (await desk.reaches(id, State.DONE)).outcome is Outcome.COMPLETED
        assert len(desk.process.submissions) == 2


async def test_a_reminder_of_which_nobody_knows_whether_it_entered_is_left(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_runner.runner.flights.SETTLE_S", 0.02)

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        return Uncertain("no trace") if len(process.submissions) > 1 else Submitted("script")

    desk = Desk(journal, MemoryRelay(), script=script, evidence_s=0.1)
    async with desk.running():
        id = await desk.send(reply_required=True)
        await turn(desk, 1)
        await desk.process.until(2)
        assert (await desk.reaches(id, State.DONE)).outcome is Outcome.COMPLETED


async def test_a_limit_holds_nobody_up_for_a_reminder(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send(reply_required=True)
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        desk.ends(submission)
        desk.emit(Limited(Limit("weekly limit", None)))
        done = await desk.reaches(id, State.DONE)
        assert done.outcome is Outcome.COMPLETED and len(desk.process.submissions) == 1


async def test_a_program_that_dies_leaves_the_message_as_its_own_turn_ended(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        first = await desk.send(reply_required=True)
        await turn(desk, 1, result="one")
        reminder = (await desk.process.until(2))[1]
        desk.sees(reminder)
        await desk.inbox.detach()
        assert (await desk.reaches(first, State.DONE)).result == "one"
        assert desk.flights.all() == [] and desk.work.items == ()


async def test_a_lost_claim_silences_the_end_of_a_reminder(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        id = await desk.send(reply_required=True)
        await turn(desk, 1)
        reminder = (await desk.process.until(2))[1]
        await desk.receipts.flushed(5)
        desk.claims.on_lost(id)
        desk.sees(reminder)
        desk.ends(reminder)
        assert journal.open() == [] and journal.outbox() == []
        assert (await desk.delivery(id)).state is State.SEEN


# --- a runner that dies -----------------------------------------------------------------------------------------------


async def _left(journal: Journal, operator: MemoryRelay, *, reminded: bool) -> tuple[int, Submission]:
    """Let a runner die after the turn, before or after the reminder went in; return the message and what was last."""
    desk = Desk(journal, operator)
    async with desk.running():
        id = await desk.send(reply_required=True)
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await desk.reaches(id, State.SEEN)
        if not reminded:  # the provider is not idle yet: nothing goes in
            desk.emit(TurnEnded(Outcome.COMPLETED, "script", (submission.nonce,), "text"))
            return id, submission
        desk.ends(submission)
        return id, (await desk.process.until(2))[1]


async def test_a_successor_reminds_where_its_predecessor_did_not(journal: Journal) -> None:
    operator = MemoryRelay()
    id, _ = await _left(journal, operator, reminded=False)
    assert [row.stage for row in journal.open()] == [Stage.OWED]
    desk = Desk(journal, operator, instance_id="i2")
    async with desk.running():
        reminder = await turn(desk, 1)
        assert reminder.message.id == id and "still wants a reply" in reminder.text
        assert (await desk.reaches(id, State.DONE)).result == "text"


async def test_a_successor_awaits_the_end_of_its_predecessors_reminder(journal: Journal) -> None:
    operator = MemoryRelay()
    id, reminder = await _left(journal, operator, reminded=True)
    desk = Desk(journal, operator, instance_id="i2")
    desk.process.records[reminder.nonce] = Evidence(True, "records", TurnState.RUNNING)
    desk.process._state = ProcessState.BUSY
    async with desk.running():
        await until(lambda: reminder.nonce in desk.flights)
        assert (await desk.delivery(id)).state is State.SEEN
        desk.ends(reminder)
        assert (await desk.reaches(id, State.DONE)).result == "text"
        assert desk.process.submissions == []


async def test_a_successor_with_another_program_does_not_ask_it_about_what_it_never_saw(journal: Journal) -> None:
    operator = MemoryRelay()
    id, _ = await _left(journal, operator, reminded=False)
    desk = Desk(journal, operator, instance_id="i2")
    async with desk.running("p2"):
        assert (await desk.reaches(id, State.DONE)).result == "text"
        desk.emit(StateChanged(ProcessState.IDLE, "script"))
        assert desk.process.submissions == []
