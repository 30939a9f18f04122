"""Tasks of a relay in memory, beyond the contract."""

from __future__ import annotations

import asyncio

import pytest

from relay_runner.errors import RelayNotFound
from relay_runner.protocol.access import Caller
from relay_runner.protocol.commands import NewTask
from relay_runner.protocol.messages import NewMessage
from relay_runner.protocol.tokens import OPERATOR, SEND
from relay_runner.relay.memory.hub import Hub
from tests.contract.relays import hello

OP = Caller("person:op", frozenset({SEND, OPERATOR}))
BOB = Caller("agent:bob", frozenset({SEND, "agent:bob"}))


def test_a_message_brings_a_task_to_its_recipient_and_every_change_is_told() -> None:
    hub = Hub()
    hub.join(hello("bob"), asyncio.Queue())
    task = hub.tasks.create(OP, NewTask(subject="s"))
    with pytest.raises(RelayNotFound):
        hub.tasks.get(BOB, task.id)
    hub.mail.accept(OP, NewMessage(to="bob", body="x", payload={"taskId": task.id}))
    assert hub.tasks.get(BOB, task.id) == task
    told = [event.data for event in hub.board.log if event.type == "task"]
    assert told == [{"id": 1, "state": "open", "from": "person:op", "agentId": None}]
