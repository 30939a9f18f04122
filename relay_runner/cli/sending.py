"""Post a message and wait for what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from relay_runner.cli import verdict
from relay_runner.errors import ConfigError, ProtocolError, RelayRefused, RelayUnavailable, unwrap
from relay_runner.protocol.addresses import Address
from relay_runner.protocol.commands import NewTask, TaskState, TaskUpdate
from relay_runner.protocol.messages import RATE_LIMITED, MessageRecord, NewMessage, Timing
from relay_runner.protocol.tasks import CARRIED_BY, MAX_SUBJECT_CHARS

if TYPE_CHECKING:
    from relay_runner.protocol.agents import Agent
    from relay_runner.relay.base import Relay

RETRY_S = 0.5
LOOK_S = 1.0
"""How often it is asked whether an agent waits for a person."""
WAITING = "waiting"
ASKS = "asks for permission "
"""How a reason to be busy begins that a person can answer: then come the permission's id and title."""
OnWaiting = Callable[[str, str], None]
"""Takes an agent's id, and what it waits for, in words that follow `waits`."""


def message(
    to: str,
    body: str,
    *,
    timing: str = Timing.QUEUE,
    subject: str | None = None,
    reply_required: bool = False,
    claimable: bool = False,
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


async def with_task(relay: Relay, new: NewMessage) -> MessageRecord:
    """Open a task and post the message that carries it; where that is refused, the task has failed."""
    first_line = next(line for line in new.body.splitlines() if line.strip())
    subject = (new.subject or first_line).strip()[:MAX_SUBJECT_CHARS]
    task = await relay.create_task(NewTask(subject=subject, idempotency_key=new.idempotency_key))
    try:
        return await relay.send(replace(new, payload={**new.payload, CARRIED_BY: task.id}))
    except RelayRefused as error:
        why = {"reason": f"not sent: {error.message}"}
        with contextlib.suppress(RelayRefused):  # inside an agent nobody moves tasks
            await relay.update_task(task.id, TaskUpdate(state=TaskState.FAILED, metadata=why))
        raise


async def wait(
    relay: Relay, record: MessageRecord, timeout_s: float, *, on_waiting: OnWaiting | None = None
) -> tuple[MessageRecord, list[MessageRecord]]:
    """Return the record once every delivery settled or the time is over, with the replies there are then.

    `on_waiting` is told once of each agent that meanwhile waits for a person or for its model, and for what.
    """
    replies: list[MessageRecord] = []

    async def until_settled() -> None:
        nonlocal record, replies
        async with contextlib.aclosing(_changes(relay, record.message.id)) as changes:
            async for record, replies in changes:
                if verdict.settled(record, repliers(replies)):
                    return

    # Out of time: the record that was reached is the answer, and its state says that it is not settled.
    with contextlib.suppress(TimeoutError):
        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                watcher = group.create_task(_watch_waiting(relay, lambda: record, on_waiting)) if on_waiting else None
                await until_settled()
                if watcher is not None:
                    watcher.cancel()
        except BaseExceptionGroup as several:
            raise unwrap(several) from None
    return record, replies


def waiting_for(agent: Agent) -> str | None:
    """Return what an agent waits for, in words that follow `waits`; None where it does not."""
    asks = next((one for one in agent.status.busy_reasons if one.startswith(ASKS)), None)
    if asks is not None:
        return f"for an answer ({asks.removeprefix(ASKS)})"
    if (agent.status.detail or "").startswith(RATE_LIMITED):
        return f"({agent.status.detail})"
    state, _, what = (agent.status.provider_state or "").partition(": ")
    if state != WAITING:
        return None
    if what.endswith("prompt"):
        return f"at a {what}"
    return "at a dialog" if "dialog" in what or not what else f"({what})"


async def _watch_waiting(relay: Relay, current: Callable[[], MessageRecord], tell: OnWaiting) -> None:
    """Look at the agents that have not ended their turn, for ever."""
    told: set[str] = set()
    while True:
        await asyncio.sleep(LOOK_S)
        open_ones = {
            verdict.name(one.recipient) for one in current().deliveries if verdict.progress(one) and one.recipient
        }
        for agent_id in sorted(open_ones - told):
            try:
                what = waiting_for(await relay.agent(agent_id))
            except (RelayUnavailable, RelayRefused):
                continue  # a person has no status, and a relay that is away is looked at again
            if what is not None:
                told.add(agent_id)
                tell(agent_id, what)


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
