"""Every named statement is there, is one, and fits the schema."""

from __future__ import annotations

import re
import sqlite3

from relay_runner.server.store.sql import queries, schema


def test_every_statement_fits_the_schema() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema())
    connection.executescript(schema())  # an old store is opened as a new one
    assert len(queries()) > 50
    for name, statement in queries().items():
        names = re.findall(r"(?<!:):([a-z_]+)", statement)
        given = dict.fromkeys(names) if names else (None,) * statement.count("?")
        connection.execute(f"EXPLAIN {statement}", given)
        assert re.fullmatch(r"[a-z_]+", name)
    connection.close()


def test_what_is_asked_often_uses_an_index() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema())
    for name in ("deliveries", "deliveries_held", "deliveries_due", "next_delivery_due", "list_received", "replies"):
        statement = queries()[name]
        names = re.findall(r":([a-z_]+)", statement)
        given = dict.fromkeys(names) if names else (None,) * statement.count("?")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", given)]
        assert not [line for line in plan if re.match(r"SCAN (d|m|deliveries|messages)\b", line)], (name, plan)
    connection.close()
