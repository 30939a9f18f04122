"""How a flight ends: by a receipt, or taken over by who continues or reminds."""

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from relay_runner.protocol.messages import UNPROVEN, Message, Outcome, State
from relay_runner.providers.base import Capabilities, Evidence, Limit, TurnState
from relay_runner.relay.base import Relay
from relay_runner.runner.flight import Flight, overdue_fact
from relay_runner.runner.journal import Journal, Row, Stage
from relay_runner.runner.landing import NEWS_FACT, Landing
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.work import Work


class Strip:
    """A landing with a real journal; what was landed, and who took over."""

    def __init__(self, journal: Journal, *, evidence: bool = True) -> None:
        self.journal = journal
        self.landed: list[tuple[str, bool]] = []
        self.limited: list[str] = []
        self.owed: list[str] = []
        self.landing = Landing(
            journal=journal,
            receipts=Receipts(cast(Relay, None), journal, "bob", "i1", asyncio.Event()),
            work=Work(),
            capabilities=Capabilities(evidence=evidence),
            land=self._land,
        )
        self.landing.on_limit = lambda row, limit: self.limited.append(row.nonce)
        self.landing.on_owed = lambda row: self.owed.append(row.nonce)

    def _land(self, flight: Flight, *, keep_claim: bool = False) -> None:
        self.landed.append((flight.nonce, keep_claim))

    def flight(self, **more: object) -> Flight:
        message = Message(
            id=1, sender="agent:ann", to="agent:bob", body="x", created_at=1.0, expires_at=9e9, reply_required=True
        )
        nonce = self.journal.begin(message, 1, "p", 1.0)
        return Flight(message, 1, nonce, Stage.SEEN, 0.0, 0.0, 0.0, **more)  # type: ignore[arg-type]

    def row(self, flight: Flight) -> Row:
        row = self.journal.by_nonce(flight.nonce)
        assert row is not None
        return row


@pytest.fixture
def strip(tmp_path: Path) -> Iterator[Strip]:
    with Journal(tmp_path / "journal.db") as journal:
        yield Strip(journal)


def _turn(outcome: Outcome, limit: Limit | None = None) -> Evidence:
    return Evidence(True, "hook", TurnState.ENDED, outcome, "text", "because", limit)


def test_an_end_is_a_receipt_and_the_claim_is_kept_until_it_is_told(strip: Strip) -> None:
    flight = strip.flight()
    strip.landing.ended(flight, _turn(Outcome.FAILED))
    (posted,) = strip.journal.outbox()
    said = posted.receipt
    assert (said.state, said.outcome, said.result, said.reason) == (State.DONE, Outcome.FAILED, "text", "because")
    assert strip.landed == [(flight.nonce, True)] and strip.row(flight).stage is Stage.SETTLED


def test_a_turn_that_took_too_long_has_failed_and_one_that_completed_has_not(strip: Strip) -> None:
    for outcome, told in ((Outcome.INTERRUPTED, Outcome.FAILED), (Outcome.COMPLETED, Outcome.COMPLETED)):
        flight = strip.flight()
        strip.journal.remember(overdue_fact(flight.nonce), "too long")
        strip.landing.ended(flight, _turn(outcome))
        assert strip.journal.outbox()[-1].receipt.outcome is told
        assert strip.journal.fact(overdue_fact(flight.nonce)) is None


def test_news_goes_to_the_next_sender_only(strip: Strip) -> None:
    strip.journal.remember(NEWS_FACT, "the session was lost")
    for _ in range(2):
        strip.landing.ended(strip.flight(), _turn(Outcome.COMPLETED))
    assert [one.receipt.reason for one in strip.journal.outbox()] == ["because; the session was lost", "because"]


def test_what_a_limit_cut_off_and_what_owes_a_reply_is_taken_over_unless_the_claim_is_lost(strip: Strip) -> None:
    strip.landing.owes = lambda message: message.reply_required
    for outcome, limit, stage in (
        (Outcome.FAILED, Limit("weekly"), Stage.LIMITED),
        (Outcome.COMPLETED, None, Stage.OWED),
    ):
        flight = strip.flight()
        strip.landing.ended(flight, _turn(outcome, limit))
        assert strip.row(flight).stage is stage and strip.journal.outbox() == []
        assert strip.landed[-1] == (flight.nonce, True)
        strip.landing.ended(strip.flight(fenced=True), _turn(outcome, limit))
        assert strip.row(flight).stage is Stage.SETTLED and strip.journal.outbox() == []
        assert strip.landed[-1] == (flight.nonce, False)
    assert len(strip.limited) == len(strip.owed) == 1


def test_a_reminder_says_nothing_of_its_own(strip: Strip) -> None:
    over: list[Flight] = []
    strip.landing.on_reminded = over.append
    for end in (
        lambda flight: strip.landing.ended(flight, _turn(Outcome.FAILED)),
        lambda flight: strip.landing.unknown(flight, "no trace"),
    ):
        end(strip.flight(reminds="n0"))
    assert len(over) == 2 and strip.journal.outbox() == []


def test_without_evidence_it_ends_unproven(tmp_path: Path) -> None:
    with Journal(tmp_path / "blind.db") as journal:
        strip = Strip(journal, evidence=False)
        flight = strip.flight()
        strip.landing.ended(flight, _turn(Outcome.COMPLETED))
        (posted,) = journal.outbox()
        assert (posted.receipt.state, posted.receipt.evidence) == (State.SUBMITTED, UNPROVEN)
        journal.sent(posted.seq)
        strip.landing.say_again(strip.row(flight))
        assert journal.outbox()[-1].receipt.state is State.SUBMITTED


def test_what_nobody_knows_is_said_and_said_again(strip: Strip) -> None:
    flight = strip.flight()
    strip.landing.unknown(flight, "no trace")
    strip.landing.say_again(strip.row(flight))
    assert [one.receipt.state for one in strip.journal.outbox()] == [State.UNKNOWN, State.UNKNOWN]


def test_a_steered_message_of_an_agent_does_not_get_what_was_said_to_a_person(strip: Strip) -> None:
    """The text of a turn that carried both may answer the person; what the agent is owed, it gets as a reply."""
    now = 1.0
    asked = Message(id=7, sender="person:al", to="agent:bob", body="x", created_at=now, expires_at=9e9, operator=True)
    theirs = strip.journal.begin(asked, 1, "p", now)
    steered = strip.flight()
    both = dataclasses.replace(_turn(Outcome.COMPLETED), carried=(theirs, steered.nonce), reason=None)
    strip.landing.owes = lambda message: False
    strip.landing.ended(steered, both)
    strip.landing.ended(Flight(asked, 1, theirs, Stage.SEEN, 0.0, 0.0, 0.0), both)
    to_agent, to_person = (posted.receipt for posted in strip.journal.outbox())
    assert (to_agent.outcome, to_agent.result, to_agent.carried) == (Outcome.COMPLETED, None, (1, 7))
    assert "also answered person:al" in str(to_agent.reason)
    assert (to_person.result, to_person.carried, to_person.reason) == ("text", (1, 7), None)


@pytest.mark.parametrize("owes", [False, True])
def test_an_end_that_is_told_again_or_after_a_reminder_says_what_the_turn_carried(strip: Strip, owes: bool) -> None:
    asked = Message(id=7, sender="person:al", to="agent:bob", body="x", created_at=1.0, expires_at=9e9, operator=True)
    steered = strip.flight()
    both = (strip.journal.begin(asked, 1, "p", 1.0), steered.nonce)
    strip.landing.owes = lambda message: owes
    strip.landing.ended(steered, dataclasses.replace(_turn(Outcome.COMPLETED), carried=both, reason=None))
    row = strip.row(steered)
    assert (row.stage, row.outcome, row.result) == (Stage.OWED if owes else Stage.SETTLED, Outcome.COMPLETED, None)
    strip.landing.say_again(row)
    receipt = strip.journal.outbox()[-1].receipt
    assert (receipt.result, receipt.carried) == (None, (1, 7))
    assert "also answered person:al" in str(receipt.reason)


def test_what_nobody_here_put_in_was_a_persons(strip: Strip) -> None:
    flight = strip.flight()
    strip.landing.ended(
        flight, dataclasses.replace(_turn(Outcome.FAILED), carried=(flight.nonce, "typed"), reason=None)
    )
    (posted,) = strip.journal.outbox()
    assert (posted.receipt.result, posted.receipt.carried) == (None, ())
    assert "a person at its terminal" in str(posted.receipt.reason)
