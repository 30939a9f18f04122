from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.protocol.access import Caller
from relay_runner.protocol.budgets import Budget, Budgets
from relay_runner.protocol.messages import Message, MessageQuery, NewMessage, Outcome, State
from relay_runner.protocol.tokens import SEND
from relay_runner.protocol.usage import Usage
from relay_runner.providers.base import Submission, SubmitResult, Submitted, TurnEnded
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.journal import Journal
from relay_runner.runner.refusing import Refusing
from tests.scripted import ScriptedProcess
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio

assert Refusing.__doc__
SPENDS = Usage(input_tokens=80, output_tokens=20, cost_usd=0.5)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


@pytest.fixture
def operator() -> MemoryRelay:
    return MemoryRelay()


def spends(process: ScriptedProcess, submission: Submission) -> SubmitResult:
    process.emit(TurnEnded(Outcome.COMPLETED, "script", (submission.nonce,), "done", usage=SPENDS))
    return Submitted("script")


@pytest.mark.parametrize(
    ("budget", "words"),
    [(Budget(turns=2), "2 turns"), (Budget(tokens=150), "150 tokens"), (Budget(cost_usd=1.0), "1.00 USD")],
)
async def test_what_is_over_the_budget_is_dead_at_once_with_the_reason(
    journal: Journal, operator: MemoryRelay, budget: Budget, words: str
) -> None:
    desk = Desk(journal, operator, script=spends, budgets=Budgets(agent=budget))
    async with desk.running():
        ids = [await desk.send(f"no {number}") for number in range(5)]
        dead = [await desk.reaches(id, State.DEAD) for id in ids[2:]]
        assert all(words in str(one.reason) and str(one.reason).startswith("over budget: ") for one in dead)
        assert [(await desk.delivery(id)).outcome for id in ids[:2]] == [Outcome.COMPLETED] * 2
        assert (await desk.delivery(ids[0])).usage == SPENDS
        spent = desk.refusing.today()
        assert (spent["turns"], spent["tokens"], spent["costUsd"]) == (2, 200, 1.0)
        assert len(desk.process.submissions) == 2 and desk.inbox.queued == 0 and journal.open() == []


async def test_what_was_spent_is_remembered_by_the_next_runner(journal: Journal, operator: MemoryRelay) -> None:
    budgets = Budgets(agent=Budget(turns=1))
    async with (old := Desk(journal, operator, script=spends, budgets=budgets)).running():
        await old.reaches(await old.send(), State.DONE)
    async with (new := Desk(journal, operator, script=spends, budgets=budgets, instance_id="i2")).running():
        await new.reaches(await new.send(), State.DEAD)


async def test_a_budget_of_one_sender_is_no_other_senders_business(journal: Journal, operator: MemoryRelay) -> None:
    budgets = Budgets(senders={"person:operator": Budget(turns=1)})
    desk = Desk(journal, operator, script=spends, budgets=budgets)
    alice = MemoryRelay(operator.hub, Caller("person:alice", frozenset({SEND})))
    async with desk.running():
        await desk.reaches(await desk.send(), State.DONE)
        await desk.reaches(await desk.send(), State.DEAD)
        hers = await alice.send(NewMessage(to="bob", body="hi"))
        await desk.reaches(hers.message.id, State.DONE)


async def test_a_claimable_message_is_left_to_agents_that_can_afford_it(
    journal: Journal, operator: MemoryRelay
) -> None:
    desk = Desk(journal, operator, script=spends, budgets=Budgets(agent=Budget(turns=1)))
    async with desk.running():
        await desk.reaches(await desk.send(), State.DONE)
        anybodys = await desk.send(to="tag:worker", claimable=True)
        mine = await desk.send(claimable=True)
        await desk.reaches(mine, State.DEAD)
        await until(lambda: desk.inbox.queued == 0)
        assert (await desk.delivery(anybodys)).state is State.QUEUED


async def test_an_agent_is_told_in_its_inbox_once_a_day(
    journal: Journal, operator: MemoryRelay, tmp_path: Path
) -> None:
    desk = Desk(journal, operator, script=spends, budgets=Budgets(agent=Budget(turns=1)))
    ann = MemoryRelay.of_agent("ann", operator.hub)
    with Journal(tmp_path / "ann.db") as its_journal:
        async with Desk(its_journal, operator, agent_id="ann").running():
            pass  # it was here once
    async with desk.running():
        await desk.reaches(await desk.send("the last one"), State.DONE)
        sent = [(await ann.send(NewMessage(to="bob", body=f"no {number}"))).message.id for number in range(2)]
        person = await desk.send("from a person, who looks")
        for id in (*sent, person):
            await desk.reaches(id, State.DEAD)

        async def notices() -> list[Message]:
            return [one.message for one in await operator.messages(MessageQuery(sender="agent:bob"))]

        await until(notices)
        (told,) = await notices()
        assert (told.to, told.reply_to, told.subject) == ("agent:ann", sent[0], "refused")
        assert told.body.startswith(f"Message {sent[0]} was refused: over budget: the agent's 1 turn")
