"""Post a message and wait for what becomes of it."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from relay_runner.cli import verdict
from relay_runner.errors import ConfigError, ProtocolError
from relay_runner.protocol.addresses import Address
from relay_runner.protocol.messages import MessageRecord, NewMessage, Timing

if TYPE_CHECKING:
    from relay_runner.relay.base import Relay


def message(
    to: str, body: str, *, timing: str, subject: str | None, reply_required: bool, claimable: bool
) -> NewMessage:
    """Return the message that the flags ask for; raise `ConfigError` for what cannot be one."""
    try:
        address = Address.parse(to)
    except ProtocolError as error:
        raise ConfigError(error.message, hint=error.hint) from error
    if timing not in set(Timing):
        raise ConfigError(f"unknown timing {timing!r}", hint=f"use {', '.join(Timing)}")
    return NewMessage(
        to=str(address),
        body=body,
        subject=subject,
        timing=Timing(timing),
        reply_required=reply_required,
        claimable=claimable,
        # Lets the client post again after a lost answer without a second message.
        idempotency_key=f"cli:{uuid.uuid4().hex}",
    )


async def wait(relay: Relay, record: MessageRecord, timeout_s: float) -> tuple[MessageRecord, list[MessageRecord]]:
    """Return the record once every delivery settled or the time is over, with the replies there are then."""
    replies: dict[int, MessageRecord] = {}
    try:
        async with asyncio.timeout(timeout_s):
            async for record in relay.watch(record.message.id):  # noqa: B020 - the newest record is the one to return
                for number in record.replies:
                    if number not in replies:
                        replies[number] = await relay.message(number)
                if verdict.settled(record, repliers(list(replies.values()))):
                    break
    except TimeoutError:
        pass  # the record that was reached is the answer; its state says that it is not settled
    return record, [replies[number] for number in sorted(replies)]


def repliers(replies: list[MessageRecord]) -> frozenset[str]:
    """Return the principals that replied."""
    return frozenset(one.message.sender for one in replies)
