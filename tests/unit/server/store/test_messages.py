"""Posting, as the log and the pushes show it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay_runner.errors import RelayNotFound
from relay_runner.protocol.messages import NewMessage, NewReply, Receipt, State
from tests.unit.server.store.world import OPERATOR_CALLER, agent_caller, keeping

pytestmark = pytest.mark.anyio


async def test_every_change_is_one_event_without_the_body(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        message_id = await keeper.post("bob", "a secret")
        await keeper.store.reply(agent_caller("bob"), message_id, NewReply(body="another secret"))
        await keeper.store.react(agent_caller("bob"), message_id, "x")
        await keeper.store.react(agent_caller("bob"), message_id, "x")
        events = await keeper.store.events_after(0, 100)
        assert [event.type for event in events] == ["agent", "message", "delivery", "message", "delivery", "reaction"]
        assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
        assert events[3].data == {"id": 2, "from": "agent:bob", "to": "person:op", "replyTo": 1}
        assert "secret" not in str(events)
        assert [change.event for change in keeper.changes] == events


async def test_the_same_key_at_once_is_one_message(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        new = NewMessage(to="bob", body="x", idempotency_key="k")
        records = await asyncio.gather(*[keeper.store.accept(OPERATOR_CALLER, new) for _ in range(20)])
        assert {record.message.id for record in records} == {1}
        assert keeper.pushed() == [("agent:bob", 1)]


async def test_a_refused_message_leaves_nothing(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        with pytest.raises(RelayNotFound):
            await keeper.store.accept(OPERATOR_CALLER, NewMessage(to="nobody", body="x", idempotency_key="k"))
        await keeper.join("nobody")
        assert await keeper.post("nobody", idempotency_key="k") == 1


async def test_a_redelivery_is_pushed_to_whom_it_concerns(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        for agent_id in ("ann", "bob"):
            await keeper.join(agent_id, tags=("x",))
        message_id = await keeper.post("tag:x")
        for agent_id in ("ann", "bob"):
            report = Receipt(agent_id=agent_id, instance_id="one", attempt=1, state=State.DEAD, reason="no")
            await keeper.store.receipt(message_id, report)
        keeper.changes.clear()
        await keeper.store.redeliver(OPERATOR_CALLER, message_id, "ann")
        assert keeper.pushed() == [("agent:ann", 2)]
        await keeper.store.redeliver(OPERATOR_CALLER, message_id, None)
        assert keeper.pushed() == [("agent:ann", 2), ("agent:bob", 2)]
        with pytest.raises(RelayNotFound):
            await keeper.store.redeliver(OPERATOR_CALLER, message_id, "eve")
