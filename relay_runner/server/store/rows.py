"""Rows of the tables as the values of the protocol, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from relay_runner.protocol import deliveries
from relay_runner.protocol.agents import Agent, Status, TimelineEvent, unheard
from relay_runner.protocol.attachments import Attachment
from relay_runner.protocol.commands import Command, CommandState, Task, TaskState
from relay_runner.protocol.messages import Delivery, Message, Outcome, State, Timing
from relay_runner.protocol.usage import Usage

Row = tuple[Any, ...]

_usage = msgspec.json.Decoder(Usage)
_status = msgspec.json.Decoder(Status)
_timeline = msgspec.json.Decoder(tuple[TimelineEvent, ...])
_strings = msgspec.json.Decoder(tuple[str, ...])
# A store of before attachments may hold a sender's words here, which meant nothing.
_attachments = msgspec.json.Decoder(tuple[Attachment | str, ...])
_object = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()


def to_json(value: object) -> str:
    """Return a value as the text of a JSON column."""
    return _encoder.encode(value).decode()


def object_of(text: str) -> dict[str, Any]:
    """Return a JSON column that holds an object."""
    return _object.decode(text)


def strings_of(text: str) -> tuple[str, ...]:
    """Return a JSON column that holds a list of strings."""
    return _strings.decode(text)


def status_of(text: str) -> Status:
    """Return a JSON column that holds a status."""
    return _status.decode(text)


def message_of(row: Row) -> Message:
    """Return a row of `messages`."""
    return Message(
        id=row[0],
        sender=row[1],
        to=row[2],
        body=row[3],
        subject=row[4],
        timing=Timing(row[5]),
        claimable=bool(row[6]),
        reply_to=row[7],
        reply_required=bool(row[8]),
        payload=_object.decode(row[9]),
        attachments=_attachments_of(row[10]),
        hops=row[11],
        operator=bool(row[12]),
        created_at=row[13],
        expires_at=row[14],
    )


def _attachments_of(text: str) -> tuple[Attachment, ...]:
    if text == "[]":
        return ()
    return tuple(one for one in _attachments.decode(text) if isinstance(one, Attachment))


@dataclass(frozen=True, slots=True)
class Stored:
    """A delivery with what the table knows besides."""

    id: int
    delivery: Delivery
    claimable: bool
    expires_at: float

    def lapsed(self, now: float, *, retired: bool = False) -> Delivery:
        """Return the delivery as it is at `now`."""
        return deliveries.lapse(
            self.delivery, now, expires_at=self.expires_at, claimable=self.claimable, retired=retired
        )


def stored_of(row: Row) -> Stored:
    """Return a row of `deliveries`."""
    delivery = Delivery(
        message_id=row[1],
        recipient=row[2],
        state=State(row[3]),
        attempt=row[4],
        failures=row[5],
        instance_id=row[6],
        claim_expires_at=row[7],
        nonce=row[8],
        evidence=row[9],
        outcome=None if row[10] is None else Outcome(row[10]),
        result=row[11],
        reason=row[12],
        held=row[13],
        not_before=row[14],
        read_at=row[15],
        updated_at=row[16],
        usage=None if row[17] is None else _usage.decode(row[17]),
    )
    return Stored(row[0], delivery, bool(row[18]), row[19])


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
    )


def agent_of(row: Row) -> Agent:
    """Return a row of `agents`; one that is not heard of is offline, whatever it said last."""
    status = replace(_status.decode(row[9]), timeline=_timeline.decode(row[16]))
    if not row[11]:
        status = unheard(status)
    return Agent(
        id=row[0],
        provider=row[1],
        label=row[2],
        tags=_strings.decode(row[3]),
        capabilities=_strings.decode(row[4]),
        machine=row[6],
        instance_id=row[7],
        runner_id=row[8],
        status=status,
        meta=_object.decode(row[10]),
        connected=row[12] is not None,
        last_seen_at=row[13],
        created_at=row[14],
        queued=row[15],
    )


def command_of(row: Row) -> Command:
    """Return a row of `commands`."""
    return Command(
        id=row[0],
        type=row[1],
        target=row[2],
        sender=row[3],
        created_at=row[4],
        args=_object.decode(row[5]),
        timeout_s=row[6],
        state=CommandState(row[7]),
        result=_object.decode(row[8]),
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
        state=TaskState(row[5]),
        agent_id=row[6],
        metadata=_object.decode(row[7]),
        updated_at=row[8],
    )
