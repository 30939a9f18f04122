"""The one thread that writes: what is asked while it commits goes into the next transaction (group commit).

    ask ─► queue ─► BEGIN; operation, operation, ...; events; COMMIT (one fsync) ─► followers, then every asker

An operation that raises is rolled back to its savepoint and only its asker hears of it. Nobody is answered before the
commit returned.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from relay_runner.errors import RelayRefused, StoreError
from relay_runner.protocol.commands import Command
from relay_runner.protocol.events import Event
from relay_runner.protocol.messages import LEASE_S, Delivery, Message
from relay_runner.protocol.permissions import Permission
from relay_runner.server.store.base import Change, Follower
from relay_runner.server.store.clock import StoreClock
from relay_runner.server.store.rows import Row, to_json
from relay_runner.server.store.sql import queries

MAX_BATCH = 256
JOIN_S = 10.0
CACHED_STATEMENTS = 256
LOG_BYTES = 4 * 1024 * 1024
"""What the write-ahead log keeps on the disk at most once it went into the file."""

log = logging.getLogger(__name__)
T = TypeVar("T")


class Transaction:
    """What an operation works on: named statements, the instant it happens at, and the events it causes."""

    def __init__(self, connection: sqlite3.Connection, seq: int, now: float, lease_s: float = LEASE_S) -> None:
        self._connection = connection
        self._queries = queries()
        self.seq = seq
        self.now = now
        self.lease_s = lease_s
        """How long a lease is that nobody asked another length for."""
        self.changes: list[Change] = []

    def run(self, name: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> sqlite3.Cursor:
        """Execute a named statement."""
        return self._execute(self._queries[name], parameters)

    def one(self, name: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Row | None:
        """Return the first row of a named statement."""
        row: Row | None = self._execute(self._queries[name], parameters).fetchone()
        return row

    def ordered(self, name: str, order: str, parameters: Mapping[str, object]) -> sqlite3.Cursor:
        """Execute a named statement with its results in one order, `ASC` or `DESC`."""
        return self._execute(self._queries[name].replace("/*order*/", order), parameters)

    def _execute(self, statement: str, parameters: Sequence[object] | Mapping[str, object]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, parameters)
        except OverflowError as error:  # what JSON and a URL can say, and 64 bits cannot
            raise RelayRefused("a number is too large", status=422) from error

    def emit(
        self,
        type_: str,
        data: dict[str, Any],
        *,
        message: Message | None = None,
        delivery: Delivery | None = None,
        command: Command | None = None,
        target: str | None = None,
        permission: Permission | None = None,
    ) -> None:
        """Add an event to the log, with the values that followers pass on."""
        self.seq += 1
        event = Event(seq=self.seq, type=type_, at=self.now, data=data)
        self.changes.append(Change(event, message, delivery, command, target, permission))


Operation = Callable[[Transaction], T]


class _Asked(NamedTuple):
    operation: Operation[Any]
    future: asyncio.Future[Any]


class Writer:
    """Runs operations in groups, in the order they were asked for."""

    def __init__(
        self,
        path: Path,
        clock: StoreClock,
        *,
        lease_s: float = LEASE_S,
        on_jump: Callable[[Transaction, float], None] = lambda tx, jump: None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._lease_s = lease_s
        self._on_jump = on_jump
        """Moves the ends of what runs along with a clock that jumped, before anything is judged by it."""
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._followers: list[Follower] = []
        self._thread = threading.Thread(target=self._work, name="relay-writer", daemon=True)
        self._seq = 0
        self.commits = 0

    def start(self, connection: sqlite3.Connection) -> None:
        """Start the thread, which owns `connection` from now on."""
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._seq = connection.execute(queries()["last_event"]).fetchone()[0]
        self._thread.start()

    async def stop(self) -> None:
        """Commit what was asked for until now, and end the thread."""
        self._asked.put(None)
        await asyncio.to_thread(self._thread.join, JOIN_S)
        if self._thread.is_alive():
            raise StoreError(f"{self._path} was still being written to {JOIN_S:g} s after the end")

    def follow(self, follower: Follower) -> None:
        """Tell `follower` what every commit changed."""
        self._followers.append(follower)

    def ask(self, operation: Operation[T]) -> asyncio.Future[T]:
        """Queue an operation; the future has its result once it is durable."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._asked.put(_Asked(operation, future))
        return future

    # --- in the writer's thread ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        going = True
        while going:
            batch, going = self._next_batch()
            if batch:
                results, changes = self._commit(batch)
                self._loop.call_soon_threadsafe(self._answer, batch, results, changes)
        self._connection.close()

    def _next_batch(self) -> tuple[list[_Asked], bool]:
        asked = self._asked.get()
        batch: list[_Asked] = []
        while asked is not None:
            batch.append(asked)
            if len(batch) >= MAX_BATCH:
                return batch, True
            try:
                asked = self._asked.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[_Asked]) -> tuple[list[object], list[Change]]:
        connection = self._connection
        jump = self._clock.jump()
        if jump < 0:  # earlier: whoever reads meanwhile sees leases that are too long, never one that ran out
            self._clock.believe(jump)
        try:
            connection.execute("BEGIN IMMEDIATE")
            if jump:
                self._on_jump(self._transaction(self._seq, jump), jump)
            results, changes = self._perform(connection, batch, jump)
            rows = [(c.event.seq, c.event.type, c.event.at, to_json(c.event.data)) for c in changes]
            connection.executemany(queries()["insert_event"], rows)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            log.error("cannot write %s: %s", self._path, error)
            _roll_back(connection)
            return [_store_error(self._path, error)] * len(batch), []
        if jump > 0:  # later, for the same reason
            self._clock.believe(jump)
        if changes:
            self._seq = changes[-1].event.seq
        self.commits += 1
        return results, changes

    def _transaction(self, seq: int, jump: float) -> Transaction:
        """Return what an operation works on; a jump forward is taken into account in it, and believed after it."""
        return Transaction(self._connection, seq, self._clock() + max(jump, 0.0), self._lease_s)

    def _perform(
        self, connection: sqlite3.Connection, batch: list[_Asked], jump: float
    ) -> tuple[list[object], list[Change]]:
        results: list[object] = []
        changes: list[Change] = []
        seq = self._seq
        for asked in batch:
            transaction = self._transaction(seq, jump)
            connection.execute("SAVEPOINT operation")
            try:
                results.append(asked.operation(transaction))
            except Exception as error:
                connection.execute("ROLLBACK TO operation")
                results.append(_store_error(self._path, error) if isinstance(error, sqlite3.Error) else error)
            else:
                changes += transaction.changes
                seq = transaction.seq
            connection.execute("RELEASE operation")
        return results, changes

    # --- on the event loop --------------------------------------------------------------------------------------------

    def _answer(self, batch: list[_Asked], results: list[object], changes: list[Change]) -> None:
        if changes:
            for follower in self._followers:
                follower(changes)
        for asked, result in zip(batch, results, strict=True):
            if asked.future.done():
                continue  # the asker was cancelled meanwhile
            if isinstance(result, Exception):
                asked.future.set_exception(result)
            else:
                asked.future.set_result(result)


def connect(path: Path) -> sqlite3.Connection:
    """Open the database for writing, or for reading by `PRAGMA query_only`; raise `StoreError` where it cannot be."""
    try:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=10, cached_statements=CACHED_STATEMENTS
        )
        connection.text_factory = _text
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        connection.execute("PRAGMA foreign_keys = OFF")
    except sqlite3.Error as error:
        raise _store_error(path, error) from error
    return connection


def _text(data: bytes) -> str:
    """Return a text as it can be shown: one that is no UTF-8 would take every row of its list along."""
    return data.decode("utf-8", "replace")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _store_error(path: Path, error: BaseException) -> StoreError:
    failure = StoreError(f"cannot use the relay's store {path}: {error}", hint="look at the disk it stands on")
    failure.__cause__ = error
    return failure
