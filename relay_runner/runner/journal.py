"""What this runner did with every message, so that the next one knows: SQLite in the agent's folder.

    submitting   we mean to put it in, and are telling the relay so; nothing has entered the provider
    handing      we are putting it in: from here on only the provider's evidence can say that it did not enter
    submitted    the channel took it
    seen         the provider proved that the model has it
    settled      it ended; the receipt is in the outbox or already with the relay

Every write is committed before the step that it announces. WAL with synchronous=NORMAL: a commit survives `kill -9` of
anything without an fsync; what a power cut could take away, the relay has too (it was told `submitting` and the nonce,
durably, before anything entered the provider), and the provider's own records hold the rest.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relay_runner.errors import StoreError
from relay_runner.protocol.envelope import NONCE_BYTES
from relay_runner.protocol.messages import Message, Outcome, Receipt
from relay_runner.protocol.wire import decode, encode
from relay_runner.runner.queue import Key

KEEP_S = 14 * 24 * 3600.0
"""Longer than any message lives (7 days) and any idempotency key is remembered."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    message_id INTEGER NOT NULL, attempt INTEGER NOT NULL, created_at REAL NOT NULL,
    nonce TEXT NOT NULL UNIQUE, stage TEXT NOT NULL, message BLOB NOT NULL, process TEXT,
    channel TEXT, evidence TEXT, outcome TEXT, result TEXT, updated_at REAL NOT NULL,
    PRIMARY KEY (message_id, attempt, created_at)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS open_deliveries ON deliveries (stage) WHERE stage <> 'settled';
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, message_id INTEGER NOT NULL, receipt BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_COLUMNS = "message, attempt, nonce, stage, process, channel, evidence, outcome, result"


class Stage(StrEnum):
    """How far one delivery got on this machine."""

    SUBMITTING = "submitting"
    HANDING = "handing"
    SUBMITTED = "submitted"
    SEEN = "seen"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Row:
    """One journalled delivery."""

    message: Message
    attempt: int
    nonce: str
    stage: Stage
    process: str | None
    """The provider process (its `provider_session_id`) that it was handed to."""
    channel: str | None
    evidence: str | None
    outcome: Outcome | None
    result: str | None

    @property
    def key(self) -> Key:
        """What tells this delivery from every other."""
        return (self.message.id, self.attempt, self.message.created_at)


@dataclass(frozen=True, slots=True)
class Posted:
    """A receipt that the relay was not told yet."""

    seq: int
    message_id: int
    receipt: Receipt


class Journal:
    """The journal of one agent; used from the event loop's thread only, every call is one short transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        try:
            self._path.touch(mode=0o600, exist_ok=True)
            db = sqlite3.connect(self._path, isolation_level=None, timeout=10.0)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"cannot open the journal {self._path}: {error}", hint="move the file away") from error
        self._db = db
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    # --- deliveries ---

    def get(self, key: Key) -> Row | None:
        """Return what is known of one delivery."""
        return next(self._rows("message_id = ? AND attempt = ? AND created_at = ?", *key), None)

    def by_nonce(self, nonce: str) -> Row | None:
        """Return the delivery that went (or is going) in under this nonce."""
        return next(self._rows("nonce = ?", nonce), None)

    def open(self) -> list[Row]:
        """Return what began and did not settle, oldest message first."""
        return list(self._rows("stage <> 'settled' ORDER BY message_id"))

    def begin(self, message: Message, attempt: int, process: str | None, now: float) -> str:
        """Note that a message is about to go in; return its nonce, the old one when this try began before."""
        key = (message.id, attempt, message.created_at)
        known = self.get(key)
        nonce = known.nonce if known else secrets.token_urlsafe(NONCE_BYTES)
        self._run(
            "INSERT INTO deliveries (message_id, attempt, created_at, nonce, stage, message, process, updated_at)"
            " VALUES (?, ?, ?, ?, 'submitting', ?, ?, ?)"
            " ON CONFLICT DO UPDATE"
            " SET stage = 'submitting', process = excluded.process, updated_at = excluded.updated_at",
            *key, nonce, encode(message), process, now,
        )  # fmt: skip
        return nonce

    def restore(self, message: Message, attempt: int, nonce: str, stage: Stage, now: float) -> None:
        """Write a delivery down that only the relay remembers (this journal was lost, or is on another machine)."""
        self._run(
            "INSERT OR IGNORE INTO deliveries (message_id, attempt, created_at, nonce, stage, message, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            message.id, attempt, message.created_at, nonce, stage, encode(message), now,
        )  # fmt: skip

    def advance(
        self, nonce: str, stage: Stage, now: float, *, channel: str | None = None, evidence: str | None = None
    ) -> None:
        """Move a delivery on."""
        self._run(
            "UPDATE deliveries SET stage = ?, channel = coalesce(?, channel), evidence = coalesce(?, evidence),"
            " updated_at = ? WHERE nonce = ?",
            stage, channel, evidence, now, nonce,
        )  # fmt: skip

    def settle(self, nonce: str, receipt: Receipt, now: float, *, post: bool = True) -> None:
        """End a delivery and post its last receipt (unless somebody else has the say now), in one transaction."""
        with self._transaction() as db:
            db.execute(
                "UPDATE deliveries SET stage = 'settled', outcome = ?, result = ?, evidence = coalesce(?, evidence),"
                " updated_at = ? WHERE nonce = ?",
                (receipt.outcome, receipt.result, receipt.evidence, now, nonce),
            )
            if post:
                db.execute(
                    "INSERT INTO outbox (message_id, receipt) SELECT message_id, ? FROM deliveries WHERE nonce = ?",
                    (encode(receipt), nonce),
                )

    def forget(self, nonce: str) -> None:
        """Drop a delivery of which provably nothing entered the provider: it may come again."""
        self._run("DELETE FROM deliveries WHERE nonce = ?", nonce)

    def prune(self, now: float) -> None:
        """Drop what settled, and which commands were taken, long ago."""
        self._run("DELETE FROM deliveries WHERE stage = 'settled' AND updated_at < ?", now - KEEP_S)
        self._run("DELETE FROM facts WHERE name LIKE 'command:%' AND json_extract(value, '$.at') < ?", now - KEEP_S)

    # --- receipts on their way to the relay ---

    def post(self, message_id: int, receipt: Receipt) -> None:
        """Put a receipt into the outbox."""
        self._run("INSERT INTO outbox (message_id, receipt) VALUES (?, ?)", message_id, encode(receipt))

    def outbox(self) -> list[Posted]:
        """Return the receipts that the relay was not told yet, in order."""
        rows = self._query("SELECT seq, message_id, receipt FROM outbox ORDER BY seq")
        return [Posted(seq, message_id, decode(receipt, Receipt)) for seq, message_id, receipt in rows]

    def sent(self, seq: int) -> None:
        """Take a receipt out of the outbox."""
        self._run("DELETE FROM outbox WHERE seq = ?", seq)

    def pending(self, message_id: int) -> bool:
        """Say whether a receipt of this message waits."""
        return bool(self._query("SELECT 1 FROM outbox WHERE message_id = ? LIMIT 1", message_id))

    # --- facts ---

    def fact(self, name: str) -> str | None:
        """Return a remembered value."""
        rows = self._query("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def facts(self, prefix: str) -> dict[str, str]:
        """Return the remembered values whose names begin with `prefix`, by what follows it."""
        rows = self._query("SELECT name, value FROM facts WHERE substr(name, 1, ?) = ?", len(prefix), prefix)
        return {str(name)[len(prefix) :]: str(value) for name, value in rows}

    def remember(self, name: str, value: str | None) -> None:
        """Remember a value, or forget it."""
        if value is None:
            self._run("DELETE FROM facts WHERE name = ?", name)
        else:
            self._run("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", name, value)

    # --- inside ---

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError("the journal is closed")
        return self._db

    def _rows(self, condition: str, *values: object) -> Iterator[Row]:
        query = f"SELECT {_COLUMNS} FROM deliveries WHERE {condition}"
        for message, attempt, nonce, stage, process, channel, evidence, outcome, result in self._query(query, *values):
            yield Row(
                decode(message, Message), attempt, nonce, Stage(stage), process, channel, evidence,
                Outcome(outcome) if outcome else None, result,
            )  # fmt: skip

    def _query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"cannot read the journal {self._path}: {error}") from error

    def _run(self, statement: str, *values: object) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(f"cannot write the journal {self._path}: {error}") from error

    def _transaction(self) -> _Transaction:
        return _Transaction(self._connection, self._path)


class _Transaction:
    """`BEGIN IMMEDIATE` ... `COMMIT`, or `ROLLBACK` when anything went wrong."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        self._execute("BEGIN IMMEDIATE")
        return self._db

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._execute("COMMIT" if error is None else "ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"cannot write the journal {self._path}: {error}") from error

    def _execute(self, statement: str) -> None:
        try:
            self._db.execute(statement)
        except sqlite3.Error as error:
            raise StoreError(f"cannot write the journal {self._path}: {error}") from error
