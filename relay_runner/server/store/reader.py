"""Reading: a few threads, each with a connection of its own, that see whole commits only."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from relay_runner.errors import StoreError
from relay_runner.server.store.writer import Transaction, connect

THREADS = 2

T = TypeVar("T")


class Reader:
    """Runs questions, each in one consistent view of the store."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._connections: list[sqlite3.Connection] = []
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="relay-reader", initializer=self._open)

    async def ask(self, question: Callable[[Transaction], T]) -> T:
        """Return the answer to a question; it must not write."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, question)

    async def stop(self) -> None:
        """Finish what was asked and close."""
        await asyncio.to_thread(self._pool.shutdown)
        for connection in self._connections:
            connection.close()

    def _open(self) -> None:
        connection = connect(self._path)
        connection.execute("PRAGMA query_only = ON")
        self._connections.append(connection)
        self._local.connection = connection

    def _answer(self, question: Callable[[Transaction], T]) -> T:
        connection: sqlite3.Connection = self._local.connection
        try:
            connection.execute("BEGIN")
            try:
                return question(Transaction(connection, 0, self._clock()))
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StoreError(f"cannot read the relay's store {self._path}: {error}") from error
