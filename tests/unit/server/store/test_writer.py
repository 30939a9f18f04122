"""Group commit: many operations, one transaction; one that fails is alone with it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from relay_runner.errors import RelayRefused, StoreError
from relay_runner.server.store.base import Change
from relay_runner.server.store.clock import StoreClock
from relay_runner.server.store.sql import schema
from relay_runner.server.store.writer import Transaction, Writer, connect

pytestmark = pytest.mark.anyio


def opened(path: Path) -> tuple[Writer, list[Change]]:
    connection = connect(path)
    connection.executescript(schema())
    writer = Writer(path, StoreClock(lambda: 5.0))
    changes: list[Change] = []
    writer.follow(changes.extend)
    writer.start(connection)
    return writer, changes


def note(key: str):  # type: ignore[no-untyped-def]
    def operation(tx: Transaction) -> str:
        tx.run("put_meta", (key, key.encode()))
        tx.emit("task", {"id": key})
        return key

    return operation


def keys(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT key FROM meta ORDER BY key")]
    finally:
        connection.close()


async def test_what_was_asked_while_it_was_busy_is_committed_together(tmp_path: Path) -> None:
    writer, changes = opened(tmp_path / "r.db")
    go = threading.Event()

    def wait(tx: Transaction) -> None:
        go.wait(20)

    first = writer.ask(wait)
    rest = [writer.ask(note(f"k{number:02}")) for number in range(50)]
    go.set()
    await first
    assert await asyncio.gather(*rest) == [f"k{number:02}" for number in range(50)]
    assert writer.commits <= 3
    assert [change.event.seq for change in changes] == list(range(1, 51))
    await writer.stop()
    assert len(keys(tmp_path / "r.db")) == 50


async def test_an_operation_that_fails_is_undone_alone(tmp_path: Path) -> None:
    writer, changes = opened(tmp_path / "r.db")
    go = threading.Event()

    def refused(tx: Transaction) -> None:
        note("bad")(tx)
        raise RelayRefused("no")

    def broken(tx: Transaction) -> None:
        note("worse")(tx)
        tx.run("put_meta", (None, None))

    futures = [writer.ask(lambda tx: go.wait(20)), writer.ask(note("a")), writer.ask(refused), writer.ask(broken)]
    futures.append(writer.ask(note("b")))
    go.set()
    found = await asyncio.gather(*futures, return_exceptions=True)
    assert found[1] == "a" and found[4] == "b"
    assert isinstance(found[2], RelayRefused) and isinstance(found[3], StoreError)
    assert [(change.event.seq, change.event.data["id"]) for change in changes] == [(1, "a"), (2, "b")]
    await writer.stop()
    assert keys(tmp_path / "r.db") == ["a", "b"]


async def test_nobody_is_answered_when_the_commit_fails(tmp_path: Path) -> None:
    writer, changes = opened(tmp_path / "r.db")
    await writer.ask(note("a"))

    def clash(tx: Transaction) -> None:
        note("b")(tx)
        tx.changes[-1] = Change(changes[0].event)  # its seq is taken: the log cannot be written

    with pytest.raises(StoreError):
        await writer.ask(clash)
    assert await writer.ask(note("c")) == "c"
    assert [change.event.seq for change in changes] == [1, 2]
    await writer.stop()
    assert keys(tmp_path / "r.db") == ["a", "c"]


async def test_an_asker_that_gave_up_changes_nothing_for_others(tmp_path: Path) -> None:
    writer, _ = opened(tmp_path / "r.db")
    go = threading.Event()
    waiting = writer.ask(lambda tx: go.wait(20))
    lost, kept = writer.ask(note("lost")), writer.ask(note("kept"))
    lost.cancel()
    go.set()
    await waiting
    assert await kept == "kept"
    await writer.stop()
    assert keys(tmp_path / "r.db") == ["kept", "lost"]


async def test_events_go_on_counting_after_a_restart(tmp_path: Path) -> None:
    writer, _ = opened(tmp_path / "r.db")
    await writer.ask(note("a"))
    await writer.stop()
    again, changes = opened(tmp_path / "r.db")
    await again.ask(note("b"))
    await again.stop()
    assert [change.event.seq for change in changes] == [2]


def test_a_database_that_is_none_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "r.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreError, match=r"r\.db"):
        connect(tmp_path / "r.db")
    with pytest.raises(StoreError):
        connect(tmp_path / "no" / "such" / "folder.db")


async def test_every_commit_is_on_the_disk(tmp_path: Path) -> None:
    connection = connect(tmp_path / "r.db")
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
