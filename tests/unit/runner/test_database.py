from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from relay_runner.errors import StoreError
from relay_runner.protocol.budgets import BY_HAND, Bill
from relay_runner.protocol.messages import Message
from relay_runner.runner.database import ADDED, Database
from relay_runner.runner.journal import Journal


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
