"""Values go through rows and come back the same."""

from __future__ import annotations

from msgspec.structs import replace

from relay_runner.protocol.agents import AgentState, Status, WorkItem, WorkKind
from relay_runner.protocol.messages import Delivery, Outcome, State
from relay_runner.protocol.usage import Usage
from relay_runner.server.store.rows import agent_of, delivery_values, message_of, stored_of, to_json

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
        stored = stored_of((9, 3, *delivery_values(delivery), 1, 100.0))
        assert (stored.id, stored.delivery, stored.claimable, stored.expires_at) == (9, delivery, True, 100.0)
        assert len(delivery_values(delivery)) == len(Delivery.__struct_fields__) - 1


def test_a_stored_delivery_lapses_by_its_own_end() -> None:
    queued = replace(FULL, state=State.QUEUED, claim_expires_at=None)
    stored = stored_of((9, 3, *delivery_values(queued), 0, 100.0))
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
