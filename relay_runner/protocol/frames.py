"""The bus: frames over one WebSocket, JSON objects tagged by `type`.

Unknown fields are ignored, unknown types are skipped (the receiver counts them), a malformed known type is a
`ProtocolError`. The client's first frame is `hello`; the server answers `welcome` or `error` and closes.
"""

from __future__ import annotations

from typing import Any, Union, get_args

import msgspec

from relay_runner.errors import ProtocolError
from relay_runner.protocol.agents import Status
from relay_runner.protocol.commands import Command
from relay_runner.protocol.messages import LEASE_S, Delivery, Message
from relay_runner.protocol.permissions import Decision
from relay_runner.protocol.shape import check_shape
from relay_runner.protocol.wire import PROTOCOL_VERSION, Wire


class Hello(Wire, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """The first frame of a runner: a newer instance of an agent supersedes the older and inherits its deliveries."""

    agent_id: str
    instance_id: str
    runner_id: str
    provider: str
    machine: str
    version: str
    protocol: int = PROTOCOL_VERSION
    label: str | None = None
    tags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    broad: bool = True
    """False: tag, cap and broadcast messages are not for this agent."""
    status: Status = Status()
    meta: dict[str, Any] = {}


class StatusFrame(Wire, frozen=True, kw_only=True, tag_field="type", tag="status"):
    """The agent's status changed."""

    status: Status


class Heartbeat(Wire, frozen=True, kw_only=True, tag_field="type", tag="heartbeat"):
    """The runner lives; with fresh meta."""

    at: float
    meta: dict[str, Any] = {}


class Welcome(Wire, frozen=True, kw_only=True, tag_field="type", tag="welcome"):
    """The relay took the hello."""

    version: str
    protocol: int
    at: float
    inherited: tuple[int, ...] = ()
    """Ids of messages whose deliveries this instance took over from its predecessor."""
    lease_s: float = LEASE_S
    """How long a lease is that nobody asks another length for."""


class MessageNew(Wire, frozen=True, kw_only=True, tag_field="type", tag="message.new"):
    """A delivery for this agent: new, put back, or redelivered. Any of them may come twice."""

    message: Message
    delivery: Delivery


class CommandFrame(Wire, frozen=True, kw_only=True, tag_field="type", tag="command"):
    """An order about this agent."""

    command: Command


class PermissionDecision(Wire, frozen=True, kw_only=True, tag_field="type", tag="permission.decision"):
    """Somebody answered a permission question of this agent; it may come more than once."""

    permission_id: str
    decision: Decision
    reason: str | None = None
    answers: dict[str, Any] = {}
    by: str | None = None


class Superseded(Wire, frozen=True, kw_only=True, tag_field="type", tag="superseded"):
    """A newer instance of the same agent took over: fence yourself."""

    by: str


class ErrorFrame(Wire, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """The relay refuses something; it closes the bus when `fatal`."""

    code: str
    message: str
    fatal: bool = False


ClientFrame = Union[Hello, StatusFrame, Heartbeat]  # noqa: UP007 - msgspec builds its decoder from the union's members
ServerFrame = Union[Welcome, MessageNew, CommandFrame, PermissionDecision, Superseded, ErrorFrame]  # noqa: UP007

_client = msgspec.json.Decoder(ClientFrame)
_server = msgspec.json.Decoder(ServerFrame)
_client_tags = frozenset(member.__struct_config__.tag for member in get_args(ClientFrame))
_server_tags = frozenset(member.__struct_config__.tag for member in get_args(ServerFrame))


class _Tag(msgspec.Struct):
    type: str


def decode_client(data: bytes | str) -> ClientFrame | None:
    """Return the frame a client sent, None for an unknown type; raise `ProtocolError` for a malformed known one.

    One that is too deep or too much is malformed, whatever its type.
    """
    check_shape(data)
    frame: ClientFrame | None = _decode(data, _client, _client_tags)
    return frame


def decode_server(data: bytes | str) -> ServerFrame | None:
    """Return the frame a server sent, None for an unknown type; raise `ProtocolError` for a malformed known one."""
    frame: ServerFrame | None = _decode(data, _server, _server_tags)
    return frame


def _decode(data: bytes | str, decoder: msgspec.json.Decoder[Any], tags: frozenset[Any]) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:
            tag = msgspec.json.decode(data, type=_Tag).type
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ProtocolError(f"not a frame: {error}") from error
        if tag not in tags:
            return None
        raise ProtocolError(f"malformed {tag} frame: {error}") from error
