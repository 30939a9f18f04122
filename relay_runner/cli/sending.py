"""Post a message and wait for what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from relay_runner.cli import verdict
from relay_runner.errors import ConfigError, ProtocolError, RelayUnavailable
from relay_runner.protocol.addresses import Address
from relay_runner.protocol.messages import MessageRecord, NewMessage, Timing

if TYPE_CHECKING:
    from relay_runner.relay.base import Relay

RETRY_S = 0.5


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
    replies: list[MessageRecord] = []
    # Out of time: the record that was reached is the answer, and its state says that it is not settled.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s), contextlib.aclosing(_changes(relay, record.message.id)) as changes:
            async for record, replies in changes:
                if verdict.settled(record, repliers(replies)):
                    break
    return record, replies


async def _changes(relay: Relay, message_id: int) -> AsyncGenerator[tuple[MessageRecord, list[MessageRecord]], None]:
    """Yield the message and its replies after every change, also across a relay that goes away and comes back."""
    known: dict[int, MessageRecord] = {}
    while True:
        records = relay.watch(message_id)
        try:
            async for record in records:
                for number in record.replies:
                    if number not in known:
                        known[number] = await relay.message(number)
                yield record, [known[number] for number in record.replies]
        except RelayUnavailable:
            await asyncio.sleep(RETRY_S)
        finally:
            if isinstance(records, AsyncGenerator):
                await records.aclose()


def repliers(replies: list[MessageRecord]) -> frozenset[str]:
    """Return the principals that replied."""
    return frozenset(one.message.sender for one in replies)
