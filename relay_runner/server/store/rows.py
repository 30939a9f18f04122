"""Rows of the tables as the values of the protocol, and back.

A value that was kept and cannot be shown (it came in before there were bounds, or the disk changed it) is shown as just
that. It never raises: one bad row would take every list that it stands in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from relay_runner.errors import ProtocolError
from relay_runner.protocol import deliveries
from relay_runner.protocol.agents import Agent, AgentState, Status, TimelineEvent, unheard
from relay_runner.protocol.attachments import Attachment
from relay_runner.protocol.commands import Command, CommandState, Task, TaskState
from relay_runner.protocol.messages import Delivery, Message, Outcome, State, Timing
from relay_runner.protocol.permissions import AT_THE_TERMINAL, Permission, PermissionState
from relay_runner.protocol.shape import check_shape
from relay_runner.protocol.usage import Usage

Row = tuple[Any, ...]
T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

UNSHOWN = "cannotBeShown"
"""The key that stands, with the reason, for an object that cannot be shown."""

_usage_or_none: msgspec.json.Decoder[Usage | None] = msgspec.json.Decoder(Usage | None)
_status = msgspec.json.Decoder(Status)
_timeline = msgspec.json.Decoder(list[dict[str, Any]])
_permission = msgspec.json.Decoder(Permission)
_strings = msgspec.json.Decoder(tuple[str, ...])
_numbers = msgspec.json.Decoder(tuple[int, ...])
# A store of before attachments may hold a sender's words here, which meant nothing.
_attachments = msgspec.json.Decoder(tuple[Attachment | str, ...])
_object = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()


def to_json(value: object) -> str:
    """Return a value as the text of a JSON column."""
    return _encoder.encode(value).decode()


def object_of(text: str) -> dict[str, Any]:
    """Return a JSON column that holds an object."""
    return {} if text == "{}" else _shown(_object, text, lambda why: {UNSHOWN: why})


def strings_of(text: str) -> tuple[str, ...]:
    """Return a JSON column that holds a list of strings."""
    return _shown(_strings, text, lambda why: ())


def status_of(text: str) -> Status:
    """Return a JSON column that holds a status."""
    return _shown(
        _status, text, lambda why: Status(agent_status=AgentState.ERROR, detail=f"cannot show its status: {why}")
    )


def _shown(decoder: msgspec.json.Decoder[T], text: str, otherwise: Callable[[str], T]) -> T:
    """Return what a column holds, or where that cannot be shown what `otherwise` makes of the reason."""
    try:
        check_shape(text)
        return decoder.decode(text)
    except (ProtocolError, msgspec.DecodeError, RecursionError, TypeError, AttributeError) as error:
        return otherwise(str(error)[:200])


def _word(words: type[E], text: str, otherwise: E) -> E:
    """Return a word of an enumeration; of one that a newer relay wrote there, `otherwise`."""
    try:
        return words(text)
    except ValueError:
        return otherwise


def message_of(row: Row) -> Message:
    """Return a row of `messages`."""
    return Message(
        id=row[0],
        sender=row[1],
        to=row[2],
        body=row[3],
        subject=row[4],
        timing=_word(Timing, row[5], Timing.QUEUE),
        claimable=bool(row[6]),
        reply_to=row[7],
        reply_required=bool(row[8]),
        payload=object_of(row[9]),
        attachments=_attachments_of(row[10]),
        hops=row[11],
        operator=bool(row[12]),
        created_at=row[13],
        expires_at=row[14],
    )


def _attachments_of(text: str) -> tuple[Attachment, ...]:
    if text == "[]":
        return ()
    return tuple(one for one in _shown(_attachments, text, lambda why: ()) if isinstance(one, Attachment))


@dataclass(frozen=True, slots=True)
class Stored:
    """A delivery with what the table knows besides."""

    id: int
    delivery: Delivery
    claimable: bool
    expires_at: float
    attended: bool
    """The instance that holds it is on the bus."""

    def lapsed(self, now: float, *, retired: bool = False) -> Delivery:
        """Return the delivery as it is at `now`."""
        return deliveries.lapse(
            self.delivery,
            now,
            expires_at=self.expires_at,
            claimable=self.claimable,
            retired=retired,
            attended=self.attended,
        )


def stored_of(row: Row) -> Stored:
    """Return a row of `deliveries`."""
    delivery = Delivery(
        message_id=row[1],
        recipient=row[2],
        state=_word(State, row[3], State.UNKNOWN),
        attempt=row[4],
        failures=row[5],
        instance_id=row[6],
        claim_expires_at=row[7],
        nonce=row[8],
        evidence=row[9],
        outcome=None if row[10] is None else _word(Outcome, row[10], Outcome.FAILED),
        result=row[11],
        reason=row[12],
        held=row[13],
        not_before=row[14],
        read_at=row[15],
        updated_at=row[16],
        usage=None if row[17] is None else _shown(_usage_or_none, row[17], lambda why: None),
        carried=() if row[18] is None else _shown(_numbers, row[18], lambda why: ()),
    )
    return Stored(row[0], delivery, bool(row[19]), row[20], bool(row[21]))


def delivery_values(delivery: Delivery) -> Row:
    """Return the columns of a delivery that can change, in the order of `update_delivery`."""
    return (
        delivery.recipient,
        delivery.state.value,
        delivery.attempt,
        delivery.failures,
        delivery.instance_id,
        delivery.claim_expires_at,
        delivery.nonce,
        delivery.evidence,
        None if delivery.outcome is None else delivery.outcome.value,
        delivery.result,
        delivery.reason,
        delivery.held,
        delivery.not_before,
        delivery.read_at,
        delivery.updated_at,
        None if delivery.usage is None else to_json(delivery.usage),
        to_json(delivery.carried) if delivery.carried else None,
    )


def agent_of(row: Row) -> Agent:
    """Return a row of `agents`; one that is not heard of is offline, whatever it said last."""
    status = replace(status_of(row[9]), timeline=_timeline_of(row[16]))
    if not row[11]:
        status = unheard(status)
    return Agent(
        id=row[0],
        provider=row[1],
        label=row[2],
        tags=strings_of(row[3]),
        capabilities=strings_of(row[4]),
        machine=row[6],
        instance_id=row[7],
        runner_id=row[8],
        status=status,
        meta=object_of(row[10]),
        connected=row[12] is not None,
        last_seen_at=row[13],
        created_at=row[14],
        queued=row[15],
    )


def _timeline_of(text: str) -> tuple[TimelineEvent, ...]:
    """Return the events of a timeline, each with its data as the text that it was kept as."""
    found = _shown(_timeline, text, lambda why: [])
    return tuple(
        TimelineEvent(id=one["id"], kind=one["kind"], at=one["at"], data=object_of(one["data"])) for one in found
    )


def permission_of(row: Row) -> Permission:
    """Return a row of `permissions`; one that cannot be shown cannot be answered from afar either."""
    return _shown(
        _permission,
        row[0],
        lambda why: Permission(
            id=row[1],
            agent_id=row[2],
            instance_id="",
            kind="unknown",
            title=f"cannot show this question: {why}",
            created_at=row[4],
            state=_word(PermissionState, row[3], PermissionState.CLOSED),
            note=AT_THE_TERMINAL,
            updated_at=row[4],
        ),
    )


def command_of(row: Row) -> Command:
    """Return a row of `commands`."""
    return Command(
        id=row[0],
        type=row[1],
        target=row[2],
        sender=row[3],
        created_at=row[4],
        args=object_of(row[5]),
        timeout_s=row[6],
        state=_word(CommandState, row[7], CommandState.FAILED),
        result=object_of(row[8]),
        updated_at=row[9],
    )


def task_of(row: Row) -> Task:
    """Return a row of `tasks`."""
    return Task(
        id=row[0],
        subject=row[1],
        created_by=row[2],
        created_at=row[3],
        description=row[4],
        state=_word(TaskState, row[5], TaskState.FAILED),
        agent_id=row[6],
        metadata=object_of(row[7]),
        updated_at=row[8],
    )
