"""The bus: known frames, unknown frames, broken frames."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.errors import ProtocolError
from relay_runner.protocol.agents import AgentState, Status
from relay_runner.protocol.commands import Command
from relay_runner.protocol.frames import (
    ClientFrame,
    CommandFrame,
    ErrorFrame,
    Heartbeat,
    Hello,
    MessageNew,
    PermissionDecision,
    ServerFrame,
    StatusFrame,
    Superseded,
    Welcome,
    decode_client,
    decode_server,
)
from relay_runner.protocol.messages import Delivery, Message
from relay_runner.protocol.wire import encode

CLIENT: list[ClientFrame] = [
    Hello(agent_id="bob", instance_id="i", runner_id="r", provider="demo", machine="m", version="1", tags=("a",)),
    StatusFrame(status=Status(agent_status=AgentState.BUSY, busy_reasons=("provider-turn",))),
    Heartbeat(at=1.5, meta={"model": "x"}),
]
SERVER: list[ServerFrame] = [
    Welcome(version="1", protocol=1, at=2.0, inherited=(4, 5)),
    MessageNew(
        message=Message(id=1, sender="person:a", to="agent:bob", body="hi", created_at=1.0, expires_at=2.0),
        delivery=Delivery(message_id=1, recipient="agent:bob"),
    ),
    CommandFrame(command=Command(id="c", type="agent.restart", target="bob", sender="person:a", created_at=1.0)),
    PermissionDecision(permission_id="p", decision="approve"),
    Superseded(by="i2"),
    ErrorFrame(code="version", message="too old", fatal=True),
]


@pytest.mark.parametrize("frame", CLIENT, ids=lambda frame: type(frame).__name__)
def test_what_a_client_says_is_what_a_server_hears(frame: ClientFrame) -> None:
    assert decode_client(encode(frame)) == frame
    assert decode_server(encode(frame)) is None


@pytest.mark.parametrize("frame", SERVER, ids=lambda frame: type(frame).__name__)
def test_what_a_server_says_is_what_a_client_hears(frame: ServerFrame) -> None:
    assert decode_server(encode(frame)) == frame
    assert decode_client(encode(frame)) is None


def test_names_on_the_wire_are_camel_case_and_from_is_from() -> None:
    assert b'"type":"message.new"' in encode(SERVER[1])
    assert b'"from":"person:a"' in encode(SERVER[1])
    assert b'"agentStatus":"busy"' in encode(CLIENT[1])


def test_unknown_fields_are_ignored_and_unknown_types_are_skipped() -> None:
    assert decode_server('{"type": "superseded", "by": "x", "newField": [1]}') == Superseded(by="x")
    assert decode_server('{"type": "weather", "sun": true}') is None


@pytest.mark.parametrize("data", ['{"type": "superseded"}', '{"type": "superseded", "by": 7}', '{"type": "welcome"}'])
def test_a_malformed_known_type_is_their_mistake(data: str) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        decode_server(data)


@pytest.mark.parametrize("data", ["", "[]", "nonsense", "{}", '{"type": 5}', b"\xff\xfe", "null"])
def test_what_is_no_frame_at_all_is_their_mistake(data: str | bytes) -> None:
    for decode in (decode_client, decode_server):
        with pytest.raises(ProtocolError, match="not a frame"):
            decode(data)


@given(st.binary(max_size=100) | st.text(max_size=100))
def test_garbage_never_raises_anything_else(data: bytes | str) -> None:
    for decode in (decode_client, decode_server):
        with contextlib.suppress(ProtocolError):
            decode(data)
