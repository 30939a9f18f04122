"""The SQLite file under the journal: opened, asked and written, each error of it a `StoreError`.

Where the disk is full, what is written goes on in memory (`held_in_memory`) and back into the file when there is room.
A runner that dies in between has lost what it learnt meanwhile, and its successor learns it again from the provider's
records, as after any crash; so nothing may be *begun* that only memory knows of.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relay_runner.errors import StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    message_id INTEGER NOT NULL, attempt INTEGER NOT NULL, created_at REAL NOT NULL,
    nonce TEXT NOT NULL UNIQUE, stage TEXT NOT NULL, message BLOB NOT NULL, process TEXT,
    channel TEXT, evidence TEXT, outcome TEXT, result TEXT, updated_at REAL NOT NULL,
    continues TEXT, usage BLOB, session TEXT, reason TEXT, carried BLOB,
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
ADDED = ("continues TEXT", "usage BLOB", "session TEXT", "reason TEXT", "carried BLOB")
"""Columns of `deliveries` that older files do not have."""

CHECKPOINT_PAGES = 128
"""After how many pages (of 4 KiB) the write-ahead log goes into the file."""
LOG_BYTES = 512 * 1024
"""What the write-ahead log keeps on the disk at most once it went into the file."""
_NO_ROOM = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP}
)
"""Errors of a write for want of room, or of what a user may have of it (a quota): what they end did not happen."""

log = logging.getLogger(__name__)
Statement = tuple[str, Sequence[object]]


class Transaction:
    """What the body of a transaction writes by: its statements, in order."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    def execute(self, statement: str, values: Sequence[object] = ()) -> None:
        """Add a statement."""
        self.statements.append((statement, values))


class Database:
    """One file; used from the event loop's thread only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._memory: sqlite3.Connection | None = None
        self.on_full: Callable[[], None] = lambda: None
        """Called when the file could not take a write any more."""

    def __enter__(self) -> Self:
        try:
            self._path.touch(mode=0o600, exist_ok=True)
            db = sqlite3.connect(self._path, isolation_level=None, timeout=10.0)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            db.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
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
        if self._memory is not None and not self.recover():
            log.error("journal entries since the disk became full are lost; the provider's records still have them")
            self._memory = None
        if self._db is not None:
            self._db.close()
            self._db = None

    @property
    def held_in_memory(self) -> bool:
        """Whether the disk is full: nothing new may be begun."""
        return self._memory is not None

    def recover(self) -> bool:
        """Write what memory holds into the file; say whether that is done, or was not needed."""
        if self._memory is None:
            return True
        try:
            self._memory.backup(self._file)
        except sqlite3.Error as error:
            log.debug("still cannot write the journal %s: %s", self._path, error)
            return False
        self._memory.close()
        self._memory = None
        log.warning("the journal %s is writable again", self._path)
        return True

    def checkpoint(self) -> None:
        """Write the log into the file and take its room back; where that cannot be done now, it is done later."""
        try:
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            log.debug("no checkpoint of %s: %s", self._path, error)

    @property
    def _file(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError("the journal is closed")
        return self._db

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._memory if self._memory is not None else self._file

    def _query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"cannot read the journal {self._path}: {error}") from error

    def _run(self, statement: str, *values: object) -> None:
        self._write([(statement, values)])

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        """All of the statements or none: `BEGIN IMMEDIATE` ... `COMMIT` at the end of the context."""
        transaction = Transaction()
        yield transaction
        self._write(transaction.statements)

    def _write(self, statements: Sequence[Statement]) -> None:
        try:
            _commit(self._connection, statements)
        except sqlite3.Error as error:
            if self._memory is not None or error.sqlite_errorcode not in _NO_ROOM:
                raise StoreError(f"cannot write the journal {self._path}: {error}") from error
            self._go_on_in_memory(error)
            _commit(self._connection, statements)

    def _go_on_in_memory(self, error: sqlite3.Error) -> None:
        log.error("cannot write the journal %s (%s): messages wait until there is space", self._path, error)
        memory = sqlite3.connect(":memory:", isolation_level=None)
        self._file.backup(memory)
        self._memory = memory
        self.on_full()


def _commit(db: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    if len(statements) == 1:  # a transaction by itself
        db.execute(*statements[0])
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement, values in statements:
            db.execute(statement, values)
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:  # a full disk may have rolled it back already
            db.execute("ROLLBACK")
        raise
