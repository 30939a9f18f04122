"""Reading sees whole commits and cannot write."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import StoreError
from relay_runner.server.store.reader import Reader
from relay_runner.server.store.sql import schema
from relay_runner.server.store.writer import connect

pytestmark = pytest.mark.anyio


async def test_a_question_is_answered_and_writing_is_not_one(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    connection = connect(path)
    connection.executescript(schema())
    reader = Reader(path, lambda: 7.0)
    assert await reader.ask(lambda tx: tx.now) == 7.0
    connection.execute("BEGIN")
    connection.execute("INSERT INTO meta VALUES ('k', x'01')")
    assert await reader.ask(lambda tx: tx.one("get_meta", ("k",))) is None
    connection.execute("COMMIT")
    assert await reader.ask(lambda tx: tx.one("get_meta", ("k",))) == (b"\x01",)
    with pytest.raises(StoreError, match="cannot read"):
        await reader.ask(lambda tx: tx.run("put_meta", ("x", b"")))
    assert await reader.ask(lambda tx: tx.one("get_meta", ("k",))) == (b"\x01",)
    await reader.stop()
    connection.close()
