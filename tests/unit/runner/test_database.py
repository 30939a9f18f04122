from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from relay_runner.errors import StoreError
from relay_runner.protocol.budgets import BY_HAND, Bill
from relay_runner.protocol.messages import Message
from relay_runner.runner.database import ADDED, LOG_BYTES, Database
from relay_runner.runner.journal import Journal, Stage


def test_a_journal_from_before_limits_gets_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    message = Message(id=1, sender="agent:bob", to="agent:me", body="hi", created_at=1.0, expires_at=9e9)
    with Journal(path) as journal:
        nonce = journal.begin(message, 1, "p", 1.0)
    with sqlite3.connect(path) as db:
        for column in ADDED:
            db.execute(f"ALTER TABLE deliveries DROP COLUMN {column.split()[0]}")
    with Journal(path) as journal:
        row = journal.by_nonce(nonce)
        assert row is not None and row.continues is None and row.usage is None


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        with pytest.raises(ZeroDivisionError), journal._transaction() as db:
            db.execute("INSERT INTO facts VALUES ('a', 'b')")
            _ = 1 / 0
        assert journal.fact("a") is None
        journal.charge(Bill("2026-11-26", BY_HAND))
        assert journal.spent("2026-11-26")[BY_HAND].turns == 1


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "no.db"
    path.write_text("this is no database, and long enough to look like one" * 50)
    with pytest.raises(StoreError, match=r"no\.db"), Database(path):
        pass
    with pytest.raises(StoreError, match="closed"):
        Database(path)._run("SELECT 1")


# --- a full disk ---


def fill(journal: Journal) -> None:
    """Let SQLite itself say that the disk is full from now on."""
    pages = journal._file.execute("PRAGMA page_count").fetchone()[0]
    journal._file.execute(f"PRAGMA max_page_count = {pages}")


def make_room(journal: Journal) -> None:
    journal._file.execute("PRAGMA max_page_count = 100000")


BIG = "x" * 20_000


def test_what_a_full_disk_does_not_take_is_kept_and_written_when_there_is_room(tmp_path: Path) -> None:
    path, told = tmp_path / "journal.db", []
    message = Message(id=1, sender="agent:bob", to="agent:me", body="hi", created_at=1.0, expires_at=9e9)
    with Journal(path) as journal:
        journal.on_full = lambda: told.append(1)
        nonce = journal.begin(message, 1, "p", 1.0)
        fill(journal)
        assert not journal.held_in_memory
        journal.remember("a", BIG)
        assert journal.held_in_memory and told == [1]
        journal.advance(nonce, Stage.SEEN, 2.0, evidence="hook")
        journal.charge(Bill("2026-11-26", BY_HAND))
        row = journal.by_nonce(nonce)
        assert journal.fact("a") == BIG and row is not None and row.stage is Stage.SEEN
        assert not journal.recover() and told == [1]
        make_room(journal)
        assert journal.recover() and not journal.held_in_memory
        journal.remember("b", "after")
    with Journal(path) as journal:
        row = journal.by_nonce(nonce)
        assert row is not None and row.stage is Stage.SEEN and row.evidence == "hook"
        assert (journal.fact("a"), journal.fact("b")) == (BIG, "after")
        assert journal.spent("2026-11-26")[BY_HAND].turns == 1


def test_a_runner_that_dies_on_a_full_disk_leaves_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    message = Message(id=1, sender="agent:bob", to="agent:me", body="hi", created_at=1.0, expires_at=9e9)
    with Journal(path) as journal:
        nonce = journal.begin(message, 1, "p", 1.0)
        fill(journal)
        journal.remember("a", BIG)
        journal.advance(nonce, Stage.SEEN, 2.0)
        with Journal(path) as successor:
            row = successor.by_nonce(nonce)
            assert row is not None and row.stage is Stage.SUBMITTING and successor.fact("a") is None


def test_the_end_on_a_full_disk_says_what_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        fill(journal)
        journal.remember("a", BIG)
    assert "journal entries since the disk became full are lost" in caplog.text


def test_a_transaction_that_does_not_fit_is_whole_in_memory(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        fill(journal)
        with journal._transaction() as db:
            db.execute("INSERT INTO facts VALUES ('small', '1')")
            db.execute("INSERT INTO facts VALUES ('big', ?)", (BIG,))
        assert (journal.fact("small"), journal.fact("big")) == ("1", BIG)
        assert journal._file.execute("SELECT count(*) FROM facts").fetchone()[0] == 0


def test_other_errors_are_no_full_disk(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        with pytest.raises(StoreError, match="no such table"):
            journal._run("DELETE FROM missing")
        assert not journal.held_in_memory and journal.recover()


def test_the_log_of_a_busy_journal_stays_small_and_goes_when_it_rests(tmp_path: Path) -> None:
    log = tmp_path / "journal.db-wal"
    with Journal(tmp_path / "journal.db") as journal:
        for number in range(500):
            journal.remember("fact", f"{number}" * 2000)
            assert log.stat().st_size < 3 * LOG_BYTES
        journal.checkpoint()
        assert log.stat().st_size == 0
        journal.remember("fact", "small")
        assert journal.fact("fact") == "small"
