"""Values go through rows and come back the same."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from relay_runner.protocol.agents import AgentState, Status, TimelineEvent, WorkItem, WorkKind
from relay_runner.protocol.commands import NewCommand, NewTask, TaskQuery
from relay_runner.protocol.messages import Delivery, MessageQuery, Outcome, State
from relay_runner.protocol.permissions import Decision, NewDecision, NewPermission, PermissionQuery
from relay_runner.protocol.usage import Usage
from relay_runner.protocol.wire import encode
from relay_runner.server.store.rows import UNSHOWN, agent_of, delivery_values, message_of, stored_of, to_json
from tests.unit.server.store.world import OPERATOR_CALLER, keeping

FULL = Delivery(
    message_id=3,
    recipient="agent:bob",
    state=State.DONE,
    attempt=4,
    failures=2,
    instance_id="i",
    claim_expires_at=1.5,
    nonce="n",
    evidence="hook",
    outcome=Outcome.FAILED,
    result="r",
    carried=(3, 4),
    reason="why",
    held="h",
    usage=Usage(input_tokens=7, cost_usd=0.5),
    not_before=2.5,
    read_at=3.5,
    updated_at=4.5,
)

FILES = '["of old", {"id": "i", "name": "n", "size": 1, "sha256": "s"}]'
"""A store of before attachments has the sender's own words in that column, which meant nothing."""


def test_a_delivery_comes_back_as_it_was() -> None:
    for delivery in (FULL, Delivery(message_id=3, recipient=None)):
        stored = stored_of((9, 3, *delivery_values(delivery), 1, 100.0, 0))
        assert (stored.id, stored.delivery, stored.claimable, stored.expires_at) == (9, delivery, True, 100.0)
        assert len(delivery_values(delivery)) == len(Delivery.__struct_fields__) - 1


def test_a_stored_delivery_lapses_by_its_own_end() -> None:
    queued = replace(FULL, state=State.QUEUED, claim_expires_at=None)
    stored = stored_of((9, 3, *delivery_values(queued), 0, 100.0, 0))
    assert stored.lapsed(100.0, retired=True).reason == "agent-removed"
    assert stored.lapsed(99.0).state is State.QUEUED


def test_a_message_keeps_every_character() -> None:
    body = "a\x00b\x1b[31m\r\n\u202e\U0001f600"
    row = (1, "person:op", "agent:bob", body, None, "steer", 1, 2, 0, '{"a":[1]}', FILES, 3, 1, 5.0, 6.0)
    message = message_of(row)
    assert message.body == body and message.payload == {"a": [1]} and [one.id for one in message.attachments] == ["i"]
    assert (message.claimable, message.reply_required, message.operator, message.timing) == (True, False, True, "steer")


def test_an_agent_that_is_not_heard_is_offline_unless_it_failed() -> None:
    work = WorkItem(kind=WorkKind.TURN, id="t", started_at=1.0, source="hook")
    for said, online, shown in (
        (AgentState.BUSY, 1, AgentState.BUSY),
        (AgentState.BUSY, 0, AgentState.OFFLINE),
        (AgentState.ERROR, 0, AgentState.ERROR),
    ):
        status = to_json(Status(agent_status=said, ready=True, active_work=(work,)))
        row = ("bob", "demo", None, "[]", "[]", 1, None, "i", "r", status, "{}", online, None, 1.0, 1.0, 0, "[]")
        agent = agent_of(row)
        assert agent.status.agent_status is shown and not agent.connected
        assert agent.status.ready == bool(online) == bool(agent.status.active_work)


DEEP = '{"a":' + "[" * 975 + "]" * 975 + "}"
BAD = {
    "messages": [("payload", DEEP), ("attachments", "[5"), ("timing", "soon"), ("body", b"\xff")],
    "deliveries": [("outcome", "odd"), ("usage", DEEP), ("reason", b"\xff\xfe")],
    "agents": [("tags", "{"), ("capabilities", DEEP), ("status", DEEP), ("status", "no"), ("meta", DEEP)],
    "timeline": [("data", DEEP), ("data", "no"), ("kind", b"\xff")],
    "commands": [("args", DEEP), ("state", "odd"), ("result", "[]")],
    "permissions": [("value", '{"metadata":' + DEEP + "}"), ("value", "no"), ("value", "{}")],
    "tasks": [("metadata", DEEP), ("state", "odd")],
    "tokens": [("scopes", DEEP)],
    "events": [("data", DEEP), ("data", "no")],
}


@pytest.mark.anyio
@pytest.mark.parametrize(("table", "column", "value"), [(t, *pair) for t, pairs in BAD.items() for pair in pairs])
async def test_one_bad_row_takes_no_list(tmp_path: Path, table: str, column: str, value: str | bytes) -> None:
    async with keeping(tmp_path) as keeper:
        store, timeline = (
            keeper.store,
            (TimelineEvent(id="e", kind="k", at=1.0), TimelineEvent(id="f", kind="k", at=2.0)),
        )
        for agent_id in ("ann", "bob"):
            await keeper.join(agent_id, status=Status(agent_status=AgentState.IDLE, timeline=timeline))
            await keeper.post(agent_id)
            await store.command(OPERATOR_CALLER, NewCommand(type="agent.kill", target=agent_id))
            asked = NewPermission(id=f"p-{agent_id}", agent_id=agent_id, instance_id="one", kind="tool", title="t")
            await store.open_permission(asked)
            await store.create_task(OPERATOR_CALLER, NewTask(subject="s"))
        database = sqlite3.connect(tmp_path / "relay.db")
        with database:
            found = database.execute(f"SELECT min(rowid) FROM {table}").fetchone() if table in ROWIDS else None
            where = f"rowid = {found[0]}" if found else "id = 'ann'" if table == "agents" else "1"
            text = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
            database.execute(f"UPDATE {table} SET {column} = {text} WHERE {where}", (value,))
        database.close()
        lists = {
            "messages": await store.records(OPERATOR_CALLER, MessageQuery()),
            "agents": await store.agents(),
            "permissions": await store.permissions(PermissionQuery()),
            "tasks": await store.tasks(OPERATOR_CALLER, TaskQuery()),
            "commands": await store.commands("ann", pending=False) + await store.commands("bob", pending=False),
        }
        lists["tokens"] = list(await store.tokens())  # type: ignore[assignment]
        lists["events"] = list(await store.events_after(0, 1000))  # type: ignore[assignment]
        assert {
            name: len(rows) for name, rows in lists.items() if name in BAD and name not in ("tokens", "events")
        } == {
            "messages": 2,
            "agents": 2,
            "permissions": 2,
            "tasks": 2,
            "commands": 2,
        }
        for rows in lists.values():
            encode(rows)
        # The relay goes on with the row: it can be answered, settled and forgotten.
        await store.sweep()
        await store.decide(OPERATOR_CALLER, "p-bob", NewDecision(decision=Decision.APPROVE))
        await store.put_ready("ann", "one", True)
        await keeper.join("ann", "two")
        await store.remove_agent("ann")
        await store.tidy()


ROWIDS = {"messages", "deliveries", "timeline", "commands", "permissions", "tasks", "events"}


def test_what_cannot_be_shown_says_so() -> None:
    row = (1, "person:op", "agent:bob", "b", None, "queue", 0, None, 0, DEEP, "[]", 0, 0, 5.0, 6.0)
    assert "deeper" in message_of(row).payload[UNSHOWN]
