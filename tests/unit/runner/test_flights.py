import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from relay_runner.protocol.agents import WorkKind
from relay_runner.protocol.budgets import day_of
from relay_runner.protocol.messages import Message, Outcome, State
from relay_runner.providers.base import ABSENT, Capabilities, Evidence, ProcessState, TurnEnded, TurnState, unsure
from relay_runner.relay.base import Relay
from relay_runner.runner.claims import Claims
from relay_runner.runner.flight import Flight
from relay_runner.runner.flights import Flights
from relay_runner.runner.journal import Journal, Stage
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.work import Work
from tests.scripted import ScriptedProcess

pytestmark = pytest.mark.anyio

NO_RELAY = cast(Relay, None)
"""Flights write receipts into the journal's outbox; a relay is never asked."""
PROVING = Capabilities(evidence=True, results=True)
BLIND = Capabilities()


def _message(id: int = 1) -> Message:
    return Message(id=id, sender="agent:bob", to="agent:me", body="hi", created_at=float(id), expires_at=9e9)


class Desk:
    """Flights with a real journal, and what came of them."""

    def __init__(self, journal: Journal, capabilities: Capabilities = PROVING, evidence_s: float = 30.0) -> None:
        self.journal = journal
        self.work = Work()
        self.claims = Claims(NO_RELAY, "me", "i")
        self.flights = Flights(
            journal=journal,
            claims=self.claims,
            receipts=Receipts(NO_RELAY, journal, "me", "i", asyncio.Event()),
            work=self.work,
            capabilities=capabilities,
            publish=lambda: None,
            evidence_s=evidence_s,
        )

    def fly(self, id: int = 1, *, submitted: bool = True) -> Flight:
        nonce = self.journal.begin(_message(id), 1, "p", 1.0)
        self.journal.advance(nonce, Stage.HANDING, 1.0)
        flight = self.flights.take_off(_message(id), 1, nonce, Stage.HANDING, check_in_s=30.0)
        if submitted:
            self.flights.submitted(flight, "script")
        return flight

    def said(self) -> list[tuple[State, Any]]:
        return [
            (posted.receipt.state, posted.receipt.outcome or posted.receipt.evidence)
            for posted in self.journal.outbox()
        ]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


def _ended(nonce: str, outcome: Outcome = Outcome.COMPLETED) -> TurnEnded:
    return TurnEnded(outcome, "hook:Stop", (nonce,), result="text", reason=None)


async def test_submitted_seen_done(journal: Journal) -> None:
    desk = Desk(journal)
    flight = desk.fly()
    assert [claim.message_id for claim in desk.claims.held()] == [1]
    desk.flights.seen(flight.nonce, "hook")
    desk.flights.turn_ended(_ended(flight.nonce))
    assert desk.said() == [
        (State.SUBMITTED, None), (State.SEEN, "hook"), (State.DONE, Outcome.COMPLETED),
    ]  # fmt: skip
    assert len(desk.flights) == 0 and desk.work.items == ()


async def test_evidence_that_is_faster_than_the_channel_is_not_undone(journal: Journal) -> None:
    desk = Desk(journal)
    flight = desk.fly(submitted=False)
    desk.flights.seen(flight.nonce, "hook")
    desk.flights.submitted(flight, "script")
    assert desk.said() == [(State.SEEN, "hook")]
    row = journal.by_nonce(flight.nonce)
    assert row is not None and row.stage is Stage.SEEN


async def test_seen_twice_is_reported_once(journal: Journal) -> None:
    desk = Desk(journal)
    flight = desk.fly()
    desk.flights.seen(flight.nonce, "hook")
    desk.flights.seen(flight.nonce, "transcript")
    assert desk.said().count((State.SEEN, "hook")) == 1 and len(desk.said()) == 2


async def test_the_claim_is_kept_until_the_relay_knows_how_it_ended(journal: Journal) -> None:
    """Promise: tasks: an update that failed is retried, the claim kept."""
    desk = Desk(journal)
    flight = desk.fly()
    desk.flights.turn_ended(_ended(flight.nonce))
    assert [claim.message_id for claim in desk.claims.held()] == [1]
    desk.flights._receipts.on_told(1, 2)  # of another try
    assert [claim.message_id for claim in desk.claims.held()] == [1]
    desk.flights._receipts.on_told(1, 1)
    assert desk.claims.held() == []


async def test_a_task_is_work_from_the_hand_over_to_the_end_of_its_turn(journal: Journal) -> None:
    desk = Desk(journal)
    message = replace(_message(), payload={"taskId": 7})
    nonce = journal.begin(message, 1, "p", 1.0)
    journal.advance(nonce, Stage.HANDING, 1.0)
    desk.flights.take_off(message, 1, nonce, Stage.HANDING, check_in_s=30.0)
    (item,) = [item for item in desk.work.items if item.kind is WorkKind.TASK]
    assert (item.id, item.parent_id) == ("7", "1")
    desk.flights.turn_ended(_ended(nonce))
    assert desk.work.items == ()


async def test_not_7_another_turns_end_settles_nothing(journal: Journal) -> None:
    """Mistake 7: an older turn's idle marks a younger task done."""
    desk = Desk(journal)
    flight = desk.fly()
    desk.flights.turn_ended(_ended("another nonce"))
    assert flight.nonce in desk.flights


async def test_not_15_a_failed_and_an_interrupted_turn_say_so(journal: Journal) -> None:
    """Mistake 15: idle from a failed or interrupted turn marks done."""
    desk = Desk(journal)
    for id, outcome in ((1, Outcome.FAILED), (2, Outcome.INTERRUPTED)):
        flight = desk.fly(id)
        desk.flights.turn_ended(_ended(flight.nonce, outcome))
    assert [what for state, what in desk.said() if state is State.DONE] == [Outcome.FAILED, Outcome.INTERRUPTED]


async def test_without_evidence_it_ends_at_submitted_and_says_unproven(journal: Journal) -> None:
    desk = Desk(journal, BLIND)
    flight = desk.fly()
    desk.flights.turn_ended(_ended(flight.nonce))
    assert desk.said() == [(State.SUBMITTED, None), (State.SUBMITTED, "unproven")]
    assert journal.outbox()[-1].receipt.result == "text"


async def test_an_idle_provider_without_a_trace_makes_it_unknown_and_nothing_goes_in_again(journal: Journal) -> None:
    desk = Desk(journal, evidence_s=0.0)
    flight = desk.fly()
    await desk.flights.check(ScriptedProcess())
    assert desk.said()[-1][0] is State.UNKNOWN
    row = journal.by_nonce(flight.nonce)
    assert row is not None and row.stage is Stage.SETTLED


async def test_a_busy_provider_is_waited_for(journal: Journal) -> None:
    desk = Desk(journal, evidence_s=0.0)
    flight = desk.fly()
    process = ScriptedProcess()
    process._state = ProcessState.BUSY
    await desk.flights.check(process)
    assert flight.nonce in desk.flights


async def test_how_long_an_idle_provider_may_leave_no_trace_counts_from_when_it_became_idle(journal: Journal) -> None:
    desk, process = Desk(journal), ScriptedProcess()
    flight = desk.fly()
    desk.flights.seen(flight.nonce, "hook")
    flight.give_up_at = 0.0  # it was busy with it for longer than any patience with an idle one
    desk.flights.provider_idle()
    flight.check_at = 0.0
    await desk.flights.check(process)
    assert flight.nonce in desk.flights and (State.DONE, Outcome.INTERRUPTED) not in desk.said()


async def test_late_evidence_wins_over_unknown(journal: Journal) -> None:
    desk = Desk(journal, evidence_s=0.0)
    flight = desk.fly()
    await desk.flights.check(ScriptedProcess())
    desk.flights.seen(flight.nonce, "hook")
    desk.flights.turn_ended(_ended(flight.nonce))
    assert [state for state, _ in desk.said()] == [State.SUBMITTED, State.UNKNOWN, State.SEEN, State.DONE]


async def test_evidence_after_the_end_changes_nothing(journal: Journal) -> None:
    desk = Desk(journal)
    flight = desk.fly()
    desk.flights.turn_ended(_ended(flight.nonce))
    before = desk.said()
    desk.flights.seen(flight.nonce, "transcript")
    assert desk.said() == before and len(desk.flights) == 0


async def test_the_records_settle_what_no_event_told(journal: Journal) -> None:
    desk = Desk(journal, evidence_s=0.0)
    flight = desk.fly()
    process = ScriptedProcess()
    process.records[flight.nonce] = Evidence(True, "transcript", TurnState.ENDED, Outcome.COMPLETED, "from records")
    await desk.flights.check(process)
    assert desk.said()[1:] == [(State.SEEN, "transcript"), (State.DONE, Outcome.COMPLETED)]


async def test_a_seen_message_whose_turn_left_no_end_is_interrupted(journal: Journal) -> None:
    desk = Desk(journal, evidence_s=0.0)
    flight = desk.fly()
    desk.flights.seen(flight.nonce, "hook")
    await desk.flights.check(ScriptedProcess())
    assert desk.said()[-1] == (State.DONE, Outcome.INTERRUPTED)


@pytest.mark.parametrize(
    ("capabilities", "stage", "evidence", "entered", "last"),
    [
        (PROVING, "submitted", Evidence(False), False, State.SUBMITTED),
        (PROVING, "handing", Evidence(False), False, None),
        (PROVING, "seen", Evidence(False), True, State.UNKNOWN),
        (PROVING, "seen", ABSENT, False, State.SEEN),
        (PROVING, "submitted", unsure("half a line"), True, State.UNKNOWN),
        (PROVING, "seen", Evidence(True, "t", TurnState.RUNNING), True, State.DONE),
        (PROVING, "submitted", Evidence(True, "t", TurnState.RUNNING), True, State.DONE),
        (BLIND, "handing", Evidence(False), True, State.UNKNOWN),
        (BLIND, "submitted", Evidence(False), True, State.SUBMITTED),
    ],
)
async def test_what_a_dead_provider_leaves(
    journal: Journal, capabilities: Capabilities, stage: str, evidence: Evidence, entered: bool, last: State | None
) -> None:
    desk = Desk(journal, capabilities)
    flight = desk.fly(submitted=stage != "handing")
    if stage == "seen":
        desk.flights.seen(flight.nonce, "hook")
    process = ScriptedProcess()
    process.records[flight.nonce] = evidence
    assert await desk.flights.settle_dead(flight, process) is entered
    said = desk.said()
    assert (said[-1][0] if said else None) is last
    assert len(desk.flights) == 0


async def test_a_fenced_flight_reports_nothing_more(journal: Journal) -> None:
    desk = Desk(journal)
    flight = desk.fly(submitted=False)
    desk.flights.fence(1)
    desk.flights.seen(flight.nonce, "hook")
    desk.flights.turn_ended(_ended(flight.nonce))
    assert desk.said() == [] and journal.open() == []


async def test_the_next_sender_is_told_of_a_lost_session_and_only_that_one(journal: Journal) -> None:
    desk = Desk(journal)
    desk.flights.session_lost("s-old")
    for id, outcome in ((1, Outcome.COMPLETED), (2, Outcome.COMPLETED)):
        flight = desk.fly(id)
        desk.flights.turn_ended(_ended(flight.nonce, outcome))
    ends = [posted.receipt for posted in journal.outbox() if posted.receipt.state is State.DONE]
    assert [end.outcome for end in ends] == [Outcome.COMPLETED, Outcome.COMPLETED]
    assert (ends[0].reason or "").startswith("session s-old was lost: this went into a new one")
    assert ends[1].reason is None


async def test_what_went_wrong_stands_before_the_news(journal: Journal) -> None:
    desk = Desk(journal)
    desk.flights.session_lost("s-old")
    flight = desk.fly()
    desk.flights.turn_ended(TurnEnded(Outcome.FAILED, "x", (flight.nonce,), reason="failed: why"))
    (end,) = [posted.receipt for posted in journal.outbox() if posted.receipt.state is State.DONE]
    assert (end.reason or "").startswith("failed: why; session s-old was lost")


async def test_what_ends_while_the_records_of_a_dead_program_are_read_ends_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, process = Desk(journal), ScriptedProcess()
    flight = desk.fly()

    async def find(nonce: str) -> Evidence:
        desk.flights.turn_ended(_ended(nonce))
        return Evidence(True, "records", TurnState.ENDED, Outcome.COMPLETED, "text")

    monkeypatch.setattr(process, "find", find)
    assert await desk.flights.settle_dead(flight, process)
    assert [state for state, _ in desk.said()].count(State.DONE) == 1
    (spent,) = journal.spent(day_of(time.time())).values()
    assert spent.turns == 1
