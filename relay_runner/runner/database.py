"""The SQLite file under the journal: opened, asked and written, each error of it a `StoreError`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relay_runner.errors import StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    message_id INTEGER NOT NULL, attempt INTEGER NOT NULL, created_at REAL NOT NULL,
    nonce TEXT NOT NULL UNIQUE, stage TEXT NOT NULL, message BLOB NOT NULL, process TEXT,
    channel TEXT, evidence TEXT, outcome TEXT, result TEXT, updated_at REAL NOT NULL,
    continues TEXT, usage BLOB, session TEXT,
    PRIMARY KEY (message_id, attempt, created_at)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS open_deliveries ON deliveries (stage) WHERE stage <> 'settled';
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, message_id INTEGER NOT NULL, receipt BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS spent (
    day TEXT NOT NULL, sender TEXT NOT NULL, turns INTEGER NOT NULL, tokens INTEGER NOT NULL, cost_usd REAL NOT NULL,
    PRIMARY KEY (day, sender)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
ADDED = ("continues TEXT", "usage BLOB", "session TEXT")
"""Columns of `deliveries` that older files do not have."""

Transaction = sqlite3.Connection
"""What the body of a transaction writes by."""


class Database:
    """One file; used from the event loop's thread only."""

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
            known = {column[1] for column in db.execute("PRAGMA table_info(deliveries)")}
            for column in ADDED:
                if column.split()[0] not in known:
                    db.execute(f"ALTER TABLE deliveries ADD COLUMN {column}")
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

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError("the journal is closed")
        return self._db

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
