from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ProviderRefused
from relay_runner.protocol.budgets import Budget, Budgets, day_of
from relay_runner.protocol.messages import NewMessage, Outcome, Receipt, State
from relay_runner.protocol.usage import Usage
from relay_runner.providers.base import (
    Evidence,
    Held,
    Limit,
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
from relay_runner.runner import continuing
from relay_runner.runner.continuing import Continuing
from relay_runner.runner.journal import Journal, Stage
from relay_runner.runner.limits import HELD
from tests.scripted import ScriptedProcess
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio

assert Continuing.__doc__
HOLD_S = 0.3
FAILED = Evidence(True, "records", TurnState.ENDED, Outcome.FAILED, None, "429")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


@pytest.fixture
def operator() -> MemoryRelay:
    return MemoryRelay()


class Limiting:
    """A script: turns with these numbers (from 1) meet a limit, the others work."""

    def __init__(self, *limited: int, until_s: float | None = None, usage: Usage | None = None) -> None:
        self.limited = limited
        self.until_s = until_s
        self.usage = usage
        self.turns = 0

    def __call__(self, process: ScriptedProcess, submission: Submission) -> SubmitResult:
        self.turns += 1
        limit = None
        if self.turns in self.limited:
            limit = Limit("429: slow down", None if self.until_s is None else time.time() + self.until_s)
        process.records[submission.nonce] = (
            FAILED if limit else Evidence(True, "records", TurnState.ENDED, Outcome.COMPLETED, "worked")
        )
        outcome = Outcome.FAILED if limit else Outcome.COMPLETED
        text = None if limit else f"turn {self.turns}"
        process.emit(TurnEnded(outcome, "script", (submission.nonce,), text, "429", limit, self.usage))
        return Submitted("script")


def _desk(journal: Journal, operator: MemoryRelay, script: Any, **more: Any) -> Desk:
    return Desk(journal, operator, script=script, **{"least_hold_s": HOLD_S, **more})


async def test_a_seen_message_is_held_and_continued_without_its_body(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1, usage=Usage(input_tokens=5, output_tokens=2)))
    async with desk.running():
        id = await desk.send("the secret body")
        held = await desk.held(id)
        status = desk.work.status(1.0)
        assert (held.state, held.held) == (State.SEEN, status.detail) and status.busy_reasons[0] == status.detail
        assert [claim.message_id for claim in desk.claims.held()] == [id]
        done = await desk.reaches(id, State.DONE)
        assert (done.outcome, done.result, done.held) == (Outcome.COMPLETED, "turn 2", None)
        assert done.usage == Usage(input_tokens=10, output_tokens=4)
        first, second = desk.process.submissions
        assert "the secret body" in first.text and "the secret body" not in second.text
        assert f"message {id}" in second.text and second.nonce != first.nonce
        assert second.message.id == id and second.message.sender == first.message.sender
        assert desk.work.limit is None and desk.claims.held() == []
        spent = journal.spent(day_of(time.time()))["person:operator"]
        assert (spent.turns, spent.tokens) == (2, 14)


async def test_the_queue_is_held_told_so_and_drains_in_order(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1))
    async with desk.running():
        ids = [await desk.send(f"no {number}") for number in range(3)]
        assert (await desk.held(ids[2])).state is State.QUEUED
        await desk.reaches(ids[2], State.DONE)
        assert [one.message.id for one in desk.process.submissions] == [ids[0], *ids]


async def test_several_limits_in_a_row_hold_again(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1, 2, 3), least_hold_s=0.1)
    async with desk.running():
        done = await desk.reaches(await desk.send(), State.DONE)
        assert done.result == "turn 4"
        assert len({one.nonce for one in desk.process.submissions}) == 4
        assert sum("The limit that cut" in one.text for one in desk.process.submissions) == 3


async def test_an_early_success_ends_the_hold_early(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1, until_s=3600))
    async with desk.running():
        id = await desk.send()
        await until(lambda: desk.work.limit is not None)
        desk.emit(TurnEnded(Outcome.COMPLETED, "script", ()))
        assert (await desk.reaches(id, State.DONE)).result == "turn 2"


async def test_a_person_can_end_the_wait(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1, until_s=3600))
    async with desk.running():
        id = await desk.send()
        await desk.held(id)
        assert str(desk.inbox.go_on()).startswith(HELD)
        assert (await desk.reaches(id, State.DONE)).result == "turn 2"
        assert desk.inbox.go_on() is None


async def test_the_lease_is_renewed_while_it_holds(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1, until_s=3600), lease_s=3.0)
    async with desk.running():
        id = await desk.send()
        leased = (await desk.held(id)).claim_expires_at
        assert leased is not None

        async def renewed() -> bool:
            delivery = await desk.delivery(id)
            assert delivery.state is State.SEEN and delivery.claim_expires_at is not None
            return delivery.claim_expires_at != leased

        for _ in range(2):
            await until(renewed)
            leased = (await desk.delivery(id)).claim_expires_at or 0.0


async def test_a_message_is_not_continued_after_its_life(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1, until_s=3600))
    async with desk.running():
        new = NewMessage(to="bob", body="hi", ttl_s=0.5)
        id = (await operator.send(new)).message.id
        done = await desk.reaches(id, State.DONE)
        assert (done.outcome, done.reason) == (Outcome.FAILED, "rate-limited until it expired")
        assert len(desk.process.submissions) == 1


@pytest.mark.parametrize("how", ["another session", "no records"])
async def test_nothing_is_continued_in_a_session_that_does_not_know_the_message(
    journal: Journal, operator: MemoryRelay, how: str
) -> None:
    desk = _desk(journal, operator, Limiting(1))
    desk.work.session_id = "one"
    async with desk.running():
        id = await desk.send()
        await until(lambda: desk.work.limit is not None)
        if how == "no records":
            desk.process.records.clear()
        else:
            desk.work.session_id = "two"
        done = await desk.reaches(id, State.DONE)
        assert done.outcome is Outcome.FAILED and "session that had it is gone" in str(done.reason)
        assert len(desk.process.submissions) == 1


@pytest.mark.parametrize("stage", [Stage.LIMITED, Stage.SUBMITTING])
async def test_the_next_runner_continues_what_a_dead_one_held(
    journal: Journal, operator: MemoryRelay, stage: Stage
) -> None:
    old = _desk(journal, operator, Limiting(1))
    async with old.running():
        id = await old.send("the secret body")
        await until(lambda: len(journal.open()) == 1 and journal.open()[0].stage is Stage.LIMITED)
    first = old.process.submissions[0]
    if stage is Stage.SUBMITTING:
        journal.continuing(first.nonce, "p1", time.time())
    new = _desk(journal, operator, Limiting(), instance_id="i2")
    new.process.records = old.process.records
    async with new.running():
        assert (await new.reaches(id, State.DONE)).result == "turn 1"
        (again,) = new.process.submissions
        assert again.nonce != first.nonce and "the secret body" not in again.text


async def test_the_hold_outlives_the_runner(journal: Journal, operator: MemoryRelay) -> None:
    old = _desk(journal, operator, Limiting(1, until_s=3600))
    async with old.running():
        await old.send()
        await until(lambda: old.work.limit is not None)
    new = _desk(journal, operator, Limiting(), instance_id="i2")
    async with new.running():
        await until(lambda: new.work.limit == old.work.limit)
        assert new.process.submissions == []


@pytest.mark.parametrize(
    ("process_id", "seen", "state", "submissions"),
    [
        ("p1", False, State.UNKNOWN, 0),  # the program lives: nobody can know whether it still comes
        ("p2", False, State.DONE, 1),  # it died with its records, and it is not in them: once more
        ("p2", True, State.DONE, 0),  # it is in them: settled by the end of that turn
    ],
)
async def test_a_continuation_that_was_being_handed_over_goes_in_again_only_where_it_provably_never_did(
    journal: Journal, operator: MemoryRelay, process_id: str, seen: bool, state: State, submissions: int
) -> None:
    old = _desk(journal, operator, Limiting(1))
    async with old.running():
        id = await old.send()
        await until(lambda: len(journal.open()) == 1 and journal.open()[0].stage is Stage.LIMITED)
    nonce = journal.continuing(old.process.submissions[0].nonce, "p1", time.time())
    journal.advance(nonce, Stage.HANDING, time.time())
    new = _desk(journal, operator, Limiting(), instance_id="i2", evidence_s=0.2)
    new.process.records = dict(old.process.records)
    if seen:
        new.process.records[nonce] = Evidence(True, "records", TurnState.ENDED, Outcome.COMPLETED, "there")
    async with new.running(process_id):
        settled = await new.reaches(id, state)
        assert len(new.process.submissions) == submissions
        assert not seen or settled.result == "there"
        assert all(one.nonce == nonce for one in new.process.submissions)


async def test_a_turn_that_completed_after_all_is_told_to_another_agent_only_where_it_was_its_own(
    journal: Journal, operator: MemoryRelay
) -> None:
    desk = _desk(journal, operator, Limiting(1))
    ann = MemoryRelay.of_agent("ann", operator.hub)
    async with desk.running():
        id = (await ann.send(NewMessage(to="bob", body="x"))).message.id
        await until(lambda: len(journal.open()) == 1 and journal.open()[0].stage is Stage.LIMITED)
        nonce = desk.process.submissions[0].nonce
        desk.process.records[nonce] = Evidence(
            True, "records", TurnState.ENDED, Outcome.COMPLETED, "for the person", carried=(nonce,), by_hand=True
        )
        done = await desk.reaches(id, State.DONE)
        assert (done.outcome, done.result) == (Outcome.COMPLETED, None)
        assert "also answered a person at its terminal" in str(done.reason)


async def test_a_turn_whose_limit_only_the_records_tell_is_continued(journal: Journal, operator: MemoryRelay) -> None:
    old = Desk(journal, operator)
    async with old.running():
        id = await old.send()
        (first,) = await old.process.until(1)
        old.sees(first)
        await old.reaches(id, State.SEEN)
    new = _desk(journal, operator, Limiting(), instance_id="i2")
    new.process.records[first.nonce] = Evidence(
        True, "records", TurnState.ENDED, Outcome.FAILED, None, "429", Limit("429")
    )
    async with new.running():
        assert (await new.reaches(id, State.DONE)).result == "turn 1"


async def test_a_message_whose_claim_is_lost_is_let_go(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1, until_s=3600))
    async with desk.running():
        id = await desk.send()
        await until(lambda: desk.work.limit is not None)
        desk.inbox._lost(id)
        assert len(desk.continuing) == 0 and journal.open() == []


async def test_an_agent_that_ends_for_good_says_what_was_interrupted(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1, until_s=3600))
    async with desk.running():
        id = await desk.send()
        await until(lambda: desk.work.limit is not None)
        desk.inbox.give_up("stopped by person:operator")
        done = await desk.reaches(id, State.DONE)
        assert done.outcome is Outcome.INTERRUPTED and "stopped by person:operator" in str(done.reason)


async def test_a_continuation_that_is_held_waits_under_its_nonce(journal: Journal, operator: MemoryRelay) -> None:
    limiting = Limiting(1)
    answers: list[SubmitResult] = [Held("person typing", 0.1), Held("person typing", 0.1)]

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        if limiting.turns == 1 and answers:
            return answers.pop()
        return limiting(process, submission)

    desk = _desk(journal, operator, script)
    async with desk.running():
        assert (await desk.reaches(await desk.send(), State.DONE)).result == "turn 2"
        assert len({one.nonce for one in desk.process.submissions[1:]}) == 1
        assert len(desk.process.submissions) == 4


async def test_a_continuation_that_stays_held_is_told_once_and_looked_at_less_and_less(
    journal: Journal, operator: MemoryRelay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(continuing, "MAX_HELD_S", 0.05)
    limiting, free = Limiting(1), False

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        return limiting(process, submission) if free or not limiting.turns else Held("person typing", 0.01)

    desk = _desk(journal, operator, script)
    with caplog.at_level(logging.INFO):
        async with desk.running():
            id = await desk.send()
            await desk.process.until(12)
            delivery = await desk.delivery(id)
            assert (delivery.state, delivery.held) == (State.SEEN, "person typing")
            assert desk.obstacles.reason == "person typing"
            assert desk.continuing._holds[id].retry_s == 0.05
            free = True
            assert desk.inbox.go_on() == "person typing", "a person may have it tried at once"
            assert (await desk.reaches(id, State.DONE)).result == "turn 2"
            assert desk.obstacles.reason is None
    said = [record.getMessage() for record in caplog.records if record.name == continuing.__name__]
    assert [one for one in said if "cannot be continued" in one] == [
        f"message {id} cannot be continued yet: person typing"
    ]
    assert [one for one in said if "is continued" in one] == [f"message {id} is continued"]


async def test_a_continuation_that_may_have_entered_is_unknown_and_never_tried_again(
    journal: Journal, operator: MemoryRelay
) -> None:
    limiting = Limiting(1)

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        return limiting(process, submission) if limiting.turns == 0 else Uncertain("it broke")

    desk = _desk(journal, operator, script, evidence_s=0.2)
    async with desk.running():
        await desk.reaches(await desk.send(), State.UNKNOWN)
        assert len(desk.process.submissions) == 2


@pytest.mark.parametrize("answer", [Held("person typing", 0.01), ProviderRefused("not taken")])
async def test_a_continuation_that_is_proven_is_in_whatever_the_channel_says(
    journal: Journal, operator: MemoryRelay, answer: Held | ProviderRefused
) -> None:
    limiting = Limiting(1)

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        if limiting.turns == 0:
            return limiting(process, submission)
        desk.sees(submission)
        if isinstance(answer, Exception):
            raise answer
        return answer

    desk = _desk(journal, operator, script)
    async with desk.running():
        id = await desk.send()
        (_, again) = await desk.process.until(2)
        await until(lambda: [row.stage for row in journal.open()] == [Stage.SEEN] and desk.inbox.in_flight)
        desk.ends(again)
        assert (await desk.reaches(id, State.DONE)).result == "text"
        assert len(desk.process.submissions) == 2


async def test_one_that_is_refused_again_and_again_fails(
    journal: Journal, operator: MemoryRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continuing, "MAX_REFUSALS", 1)
    limiting = Limiting(1)

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        if limiting.turns == 0:
            return limiting(process, submission)
        raise ProviderRefused("no such turn")

    desk = _desk(journal, operator, script)
    async with desk.running():
        done = await desk.reaches(await desk.send(), State.DONE)
        assert done.outcome is Outcome.FAILED and "no such turn" in str(done.reason)


async def test_a_provider_that_dies_while_it_is_held_changes_nothing(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1))
    async with desk.running():
        id = await desk.send()
        await until(lambda: desk.work.limit is not None)
        await desk.inbox.detach()
        await desk.inbox.attach(desk.process, "p2")
        assert (await desk.reaches(id, State.DONE)).result == "turn 2"


async def test_a_continuation_costs_what_is_left_of_the_budget(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1), budgets=Budgets(Budget(turns=1)))
    async with desk.running():
        done = await desk.reaches(await desk.send(), State.DONE)
        assert done.outcome is Outcome.FAILED and "over budget" in str(done.reason)
        assert len(desk.process.submissions) == 1


async def test_the_relay_is_told_before_a_continuation_goes_in(journal: Journal, operator: MemoryRelay) -> None:
    desk = _desk(journal, operator, Limiting(1))
    told: list[Receipt] = []
    tell = desk.relay.receipt

    async def listen(message_id: int, receipt: Receipt) -> Any:
        told.append(receipt)
        return await tell(message_id, receipt)

    desk.relay.receipt = listen  # type: ignore[method-assign]
    async with desk.running():
        await desk.reaches(await desk.send(), State.DONE)
        again = desk.process.submissions[1]
        assert State.SEEN in [one.state for one in told if one.nonce == again.nonce and one.held is None]


async def test_a_turn_of_a_person_that_meets_the_limit_holds_the_queue_too(
    journal: Journal, operator: MemoryRelay
) -> None:
    desk = _desk(journal, operator, Limiting())
    async with desk.running():
        desk.process.becomes(ProcessState.BUSY)
        desk.emit(TurnEnded(Outcome.FAILED, "script", (), None, "429", Limit("429", time.time() + 3600)))
        desk.emit(StateChanged(ProcessState.IDLE, "script"))
        await desk.held(await desk.send())
        assert desk.process.submissions == []
