import os
import stat
from pathlib import Path

import pytest

from relay_runner.errors import StoreError
from relay_runner.protocol.messages import Message, Outcome, Receipt, State
from relay_runner.runner.journal import KEEP_S, Journal, Stage


def _message(id: int = 1) -> Message:
    return Message(id=id, sender="agent:bob", to="agent:me", body="hi", created_at=float(id), expires_at=9e9)


def _done(nonce: str) -> Receipt:
    return Receipt(
        agent_id="me", instance_id="i", attempt=1, state=State.DONE, nonce=nonce, outcome=Outcome.COMPLETED, result="ok"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_a_delivery_goes_through_its_stages_and_survives_reopening(path: Path) -> None:
    with Journal(path) as journal:
        nonce = journal.begin(_message(), 1, "p1", 1.0)
        journal.advance(nonce, Stage.HANDING, 2.0)
        journal.advance(nonce, Stage.SUBMITTED, 3.0, channel="paste")
    with Journal(path) as journal:
        (row,) = journal.open()
        assert (row.message, row.nonce, row.stage, row.process, row.channel) == (
            _message(), nonce, Stage.SUBMITTED, "p1", "paste",
        )  # fmt: skip
        journal.settle(nonce, _done(nonce), 4.0)
        assert journal.open() == []
        (posted,) = journal.outbox()
        assert posted.receipt == _done(nonce)
        assert journal.pending(1)
        journal.sent(posted.seq)
        assert journal.outbox() == [] and not journal.pending(1)


def test_the_same_try_keeps_its_nonce_and_another_try_has_another(path: Path) -> None:
    with Journal(path) as journal:
        first = journal.begin(_message(), 1, "p1", 1.0)
        assert journal.begin(_message(), 1, "p2", 2.0) == first
        assert journal.begin(_message(), 2, "p2", 2.0) != first


def test_the_same_id_of_another_relay_is_another_message(path: Path) -> None:
    other = Message(id=1, sender="agent:bob", to="agent:me", body="other", created_at=77.0, expires_at=9e9)
    with Journal(path) as journal:
        nonce = journal.begin(_message(), 1, "p", 1.0)
        journal.settle(nonce, _done(nonce), 2.0)
        assert journal.get((1, 1, 77.0)) is None
        assert journal.begin(other, 1, "p", 3.0) != nonce


def test_what_did_not_enter_one_program_goes_into_the_next_under_another_nonce(path: Path) -> None:
    with Journal(path) as journal:
        nonce = journal.begin(_message(), 1, "p", 1.0)
        journal.advance(nonce, Stage.SUBMITTED, 2.0, channel="paste")
        journal.again(nonce, 3.0)
        (row,) = journal.open()
        assert (row.stage, row.channel, journal.by_nonce(nonce)) == (Stage.SUBMITTING, None, None)
        assert journal.begin(_message(), 1, "p2", 4.0) == row.nonce != nonce


def test_what_is_forgotten_may_come_again(path: Path) -> None:
    with Journal(path) as journal:
        nonce = journal.begin(_message(), 1, "p", 1.0)
        journal.forget(nonce)
        assert journal.get((1, 1, 1.0)) is None


def test_a_fenced_delivery_settles_without_a_receipt(path: Path) -> None:
    with Journal(path) as journal:
        nonce = journal.begin(_message(), 1, "p", 1.0)
        journal.settle(nonce, _done(nonce), 2.0, post=False)
        assert journal.outbox() == [] and journal.open() == []


def test_old_settled_rows_are_pruned_and_open_ones_are_not(path: Path) -> None:
    with Journal(path) as journal:
        done = journal.begin(_message(1), 1, "p", 1.0)
        journal.settle(done, _done(done), 1.0)
        journal.begin(_message(2), 1, "p", 1.0)
        journal.prune(1.0 + KEEP_S + 1)
        assert journal.by_nonce(done) is None
        assert [row.message.id for row in journal.open()] == [2]


def test_facts_are_remembered_and_forgotten(path: Path) -> None:
    with Journal(path) as journal:
        journal.remember("session", "a")
        journal.remember("session", "b")
        assert journal.fact("session") == "b"
        journal.remember("session", None)
        assert journal.fact("session") is None


def test_the_file_is_private(path: Path) -> None:
    with Journal(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_committed_step_survives_kill_9(path: Path) -> None:
    child = os.fork()
    if child == 0:
        with Journal(path) as journal:
            nonce = journal.begin(_message(), 1, "p", 1.0)
            journal.advance(nonce, Stage.HANDING, 2.0)
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    with Journal(path) as journal:
        (row,) = journal.open()
        assert row.stage is Stage.HANDING


def test_a_file_that_is_no_journal_says_what_to_do(path: Path) -> None:
    path.write_bytes(b"this is not a database, it is something else" * 100)
    with pytest.raises(StoreError, match="cannot open the journal"), Journal(path):
        pass


def test_facts_are_found_by_the_beginning_of_their_names(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        for name in ("permission:a", "permission:b%", "permissions:c", "session"):
            journal.remember(name, name.upper())
        assert journal.facts("permission:") == {"a": "PERMISSION:A", "b%": "PERMISSION:B%"}
        journal.remember("permission:a", None)
        assert list(journal.facts("permission:")) == ["b%"]
