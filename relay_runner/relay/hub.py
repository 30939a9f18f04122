"""What a relay in memory knows: the same rules as a real one, over dictionaries, with a clock that can be turned.

Nothing here awaits, so that every step is atomic on its event loop.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from relay_runner.errors import ClaimLost, RelayNotFound, RelayRefused, RelayUnauthorized
from relay_runner.protocol import acceptance, deliveries
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import Address, Kind, agent_principal
from relay_runner.protocol.agents import OFFLINE_AFTER_S, Agent, AgentState, Status
from relay_runner.protocol.commands import Command, Task
from relay_runner.protocol.events import Event
from relay_runner.protocol.frames import Hello, MessageNew, ServerFrame
from relay_runner.protocol.messages import (
    MESSAGE_TTL_S,
    Delivery,
    Message,
    MessageQuery,
    MessageRecord,
    NewMessage,
    Reaction,
    State,
)

Frames = asyncio.Queue[ServerFrame | None]
"""What waits for a bus; None ends it."""


@dataclass(slots=True)
class Member:
    """An agent, and the bus of its current instance."""

    hello: Hello
    status: Status
    created_at: float
    last_seen_at: float
    frames: Frames | None = None
    instances: set[str] = field(default_factory=set)
    removed: bool = False

    @property
    def addresses(self) -> frozenset[str]:
        """Every address that means it."""
        hello = self.hello
        return acceptance.addresses_of(
            agent_id=hello.agent_id,
            label=hello.label,
            tags=hello.tags,
            capabilities=hello.capabilities,
            broad=hello.broad,
        )


@dataclass(slots=True)
class Entry:
    """A message, and everything that became of it."""

    message: Message
    deliveries: list[Delivery] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)


class Hub:
    """One relay in memory; `clock` tells the time, and `sweep` does what is due by it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.entries: dict[int, Entry] = {}
        self.members: dict[str, Member] = {}
        self.commands: dict[str, tuple[Command, str]] = {}
        self.tasks: dict[int, Task] = {}
        self.tokens: dict[str, Caller] = {}
        self.log: list[Event] = []
        self._keys: dict[tuple[str, str, str], tuple[object, float]] = {}
        self._waiting: set[asyncio.Event] = set()

    # --- who listens --------------------------------------------------------------------------------------------------

    def emit(self, type_: str, **data: Any) -> None:
        """Add an event and wake everybody who waits for one."""
        self.log.append(Event(seq=len(self.log) + 1, type=type_, at=self.clock(), data=data))
        for waiting in self._waiting:
            waiting.set()

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Return an event that is set whenever something happened."""
        waiting = asyncio.Event()
        self._waiting.add(waiting)
        try:
            yield waiting
        finally:
            self._waiting.discard(waiting)

    def remembered(self, caller: Caller, kind: str, key: str | None) -> object | None:
        """Return what a sender's key stands for, None for a new one."""
        found, at = self._keys.get((caller.subject, kind, key or ""), (None, 0.0))
        return found if key is not None and at > self.clock() - acceptance.IDEMPOTENCY_S else None

    def remember(self, caller: Caller, kind: str, key: str | None, value: object) -> None:
        """Keep what a sender's key stands for."""
        if key is not None:
            self._keys[caller.subject, kind, key] = (value, self.clock())

    # --- messages -----------------------------------------------------------------------------------------------------

    def accept(self, caller: Caller, new: NewMessage) -> MessageRecord:
        """Take a message and make its deliveries."""
        caller.need_send()
        address = acceptance.check_new(new)
        known = self.remembered(caller, "message", new.idempotency_key)
        if isinstance(known, int):
            return self.record(caller, known)
        parent = None if new.reply_to is None else self.visible(caller, new.reply_to).message
        recipients = self._recipients(caller.subject, new, address)
        now = self.clock()
        message = Message(
            id=len(self.entries) + 1,
            sender=caller.subject,
            to=str(address),
            body=new.body,
            created_at=now,
            expires_at=now + new.ttl_s,
            subject=new.subject,
            timing=new.timing,
            claimable=new.claimable,
            reply_to=new.reply_to,
            reply_required=new.reply_required,
            payload=new.payload,
            attachments=new.attachments,
            hops=acceptance.hops_after(parent),
            operator=caller.is_operator,
        )
        entry = self.entries[message.id] = Entry(message)
        self.remember(caller, "message", new.idempotency_key, message.id)
        self.emit("message", id=message.id, **{"from": message.sender}, to=message.to)
        for recipient in recipients:
            entry.deliveries.append(Delivery(message_id=message.id, recipient=recipient, updated_at=now))
            self._told(entry, len(entry.deliveries) - 1, push=True)
        return self.record(caller, message.id)

    def _recipients(self, sender: str, new: NewMessage, address: Address) -> list[str | None]:
        live = {agent_id: member.addresses for agent_id, member in self.members.items() if not member.removed}
        if new.claimable and address.kind is not Kind.AGENT:
            return [None]
        retired = address.kind is Kind.AGENT and address.value in self.members
        found = acceptance.fan_out(address, sender=sender, agents=live, retired=retired)
        return [None] if new.claimable else list(found)

    def entry(self, message_id: int) -> Entry:
        """Return a message; raise `RelayNotFound` where there is none."""
        if message_id not in self.entries:
            raise RelayNotFound(f"there is no message {message_id}")
        return self.entries[message_id]

    def visible(self, caller: Caller, message_id: int) -> MessageRecord:
        """Return a message with those of its deliveries that the caller may see."""
        self.sweep()
        entry = self.entry(message_id)
        found = tuple(entry.deliveries)
        if not caller.may_see(entry.message.sender):
            found = tuple(delivery for delivery in found if self._concerns(caller, entry, delivery))
            if not found:
                raise RelayNotFound(f"there is no message {message_id} for {caller.subject}")
        return MessageRecord(message=entry.message, deliveries=found)

    def record(self, caller: Caller, message_id: int) -> MessageRecord:
        """Return a message with everything that the caller may know of it."""
        entry = self.entry(message_id)
        replies = tuple(other.message.id for other in self.entries.values() if other.message.reply_to == message_id)
        return replace(self.visible(caller, message_id), replies=replies, reactions=tuple(entry.reactions))

    def records(self, caller: Caller, query: MessageQuery) -> list[MessageRecord]:
        """Return the messages that a query asks for."""
        if not caller.operates and not any(who and caller.is_(who) for who in (query.recipient, query.sender)):
            if query.recipient is not None:
                message = f"the messages of {query.recipient} are not yours to read"
                raise RelayUnauthorized(message, status=403, code="forbidden")
            query = replace(query, recipient=caller.subject)
        self.sweep()
        ids = [message_id for message_id, entry in self.entries.items() if self._is_meant(entry, query)]
        ids = ids if query.oldest_first else ids[::-1]
        return [self.record(caller, message_id) for message_id in ids[: query.limit]]

    def _is_meant(self, entry: Entry, query: MessageQuery) -> bool:
        message = entry.message
        meant = [d for d in entry.deliveries if query.recipient is None or self._is_for(query.recipient, message, d)]
        meant = [d for d in meant if d.state in (query.states or State) and not (query.unread and d.read_at)]
        return (
            bool(meant)
            and query.sender in (None, message.sender)
            and query.reply_to in (None, message.reply_to)
            and message.id > (query.after or 0)
        )

    def _is_for(self, principal: str, message: Message, delivery: Delivery) -> bool:
        if delivery.recipient is not None or delivery.state is not State.QUEUED:
            return delivery.recipient == principal
        member = self.members.get(principal.removeprefix("agent:"))
        return member is not None and message.to in member.addresses and message.sender != principal

    def _concerns(self, caller: Caller, entry: Entry, delivery: Delivery) -> bool:
        if delivery.recipient is not None:
            return caller.is_(delivery.recipient)
        return any(self._is_for(principal, entry.message, delivery) for principal in caller.principals())

    def redeliver(self, caller: Caller, message_id: int, agent_id: str | None) -> MessageRecord:
        """Queue dead and unknown deliveries again."""
        entry = self.entry(message_id)
        self.sweep()
        wanted = None if agent_id is None else agent_principal(agent_id)
        found = [index for index, d in enumerate(entry.deliveries) if wanted in (None, d.recipient)]
        if not found:
            raise RelayNotFound(f"message {message_id} was not sent to {wanted}")
        ended = [index for index in found if entry.deliveries[index].state in (State.DEAD, State.UNKNOWN)]
        now = self.clock()
        for index in ended or found[:1]:
            again = deliveries.redeliver(entry.deliveries[index], now, claimable=entry.message.claimable)
            if entry.message.expires_at <= now:
                entry.message = replace(entry.message, expires_at=now + MESSAGE_TTL_S)
            self.put(entry, index, again)
        return self.record(caller, message_id)

    # --- deliveries ---------------------------------------------------------------------------------------------------

    def find(self, message_id: int, agent_id: str) -> tuple[Entry, int]:
        """Return which delivery of a message is this agent's to handle."""
        self.sweep()
        entry = self.entry(message_id)
        principal = agent_principal(agent_id)
        chosen = deliveries.choose(entry.deliveries, principal)
        if chosen is None:
            if entry.message.claimable:
                return entry, 0
            raise RelayNotFound(f"there is no message {message_id} for {principal}")
        if chosen.recipient is None and not self._is_for(principal, entry.message, chosen):
            raise RelayUnauthorized(f"message {message_id} is not for {principal}", status=403, code="forbidden")
        return entry, next(index for index, delivery in enumerate(entry.deliveries) if delivery is chosen)

    def put(self, entry: Entry, index: int, delivery: Delivery) -> Delivery:
        """Keep a delivery that changed, and tell of it."""
        before = entry.deliveries[index]
        if delivery is not before:
            entry.deliveries[index] = delivery
            taken_up = delivery.attempt != before.attempt or before.not_before is not None
            push = delivery.state is State.QUEUED and delivery.not_before is None and taken_up
            self._told(entry, index, push=push)
        return delivery

    def _told(self, entry: Entry, index: int, *, push: bool) -> None:
        delivery = entry.deliveries[index]
        self.emit(
            "delivery",
            messageId=delivery.message_id,
            **{"from": entry.message.sender},
            recipient=delivery.recipient,
            state=delivery.state.value,
            attempt=delivery.attempt,
        )
        for agent_id, member in self.members.items() if push else ():
            if member.frames is not None and self._is_for(agent_principal(agent_id), entry.message, delivery):
                member.frames.put_nowait(MessageNew(message=entry.message, delivery=delivery))

    def sweep(self) -> None:
        """Do what is due by the clock."""
        now = self.clock()
        for entry in self.entries.values():
            for index, delivery in enumerate(entry.deliveries):
                member = self.members.get((delivery.recipient or "").removeprefix("agent:"))
                lapsed = deliveries.lapse(
                    delivery,
                    now,
                    expires_at=entry.message.expires_at,
                    claimable=entry.message.claimable,
                    retired=member is not None and member.removed,
                )
                self.put(entry, index, lapsed)

    def next_due(self) -> float | None:
        """Return the instant when a lease or a delay ends next."""
        ends = [
            at
            for entry in self.entries.values()
            for delivery in entry.deliveries
            for at in (delivery.claim_expires_at, delivery.not_before)
            if at is not None
        ]
        return min(ends, default=None)

    # --- agents -------------------------------------------------------------------------------------------------------

    def member(self, agent_id: str) -> Member:
        """Return an agent that was not removed; raise `RelayNotFound` with the nearest name."""
        member = self.members.get(agent_id)
        if member is None or member.removed:
            raise acceptance.unknown_agent(agent_id, [i for i, m in self.members.items() if not m.removed])
        return member

    def current(self, agent_id: str, instance_id: str) -> Member:
        """Return an agent whose current instance this is; raise `ClaimLost` for an older one."""
        member = self.member(agent_id)
        if member.hello.instance_id != instance_id:
            raise ClaimLost(f"a newer instance of agent {agent_id} took over")
        member.last_seen_at = self.clock()
        return member

    def agent(self, agent_id: str) -> Agent:
        """Return an agent as others see it."""
        member = self.member(agent_id)
        hello, status = member.hello, member.status
        silent = member.last_seen_at + OFFLINE_AFTER_S <= self.clock()
        if (silent or member.frames is None) and status.agent_status is not AgentState.ERROR:
            status = replace(status, agent_status=AgentState.OFFLINE, ready=False, busy_reasons=(), active_work=())
        mine = [d for e in self.entries.values() for d in e.deliveries if d.recipient == agent_principal(agent_id)]
        return Agent(
            id=agent_id,
            provider=hello.provider,
            label=hello.label,
            tags=hello.tags,
            capabilities=hello.capabilities,
            machine=hello.machine,
            instance_id=hello.instance_id,
            runner_id=hello.runner_id,
            connected=member.frames is not None,
            status=status,
            meta=hello.meta,
            queued=sum(delivery.state is State.QUEUED for delivery in mine),
            last_seen_at=member.last_seen_at,
            created_at=member.created_at,
        )

    def join(self, hello: Hello, frames: Frames) -> tuple[tuple[int, ...], Frames | None]:
        """Make this the agent's current instance; return the messages it takes over, and the bus it supersedes."""
        self.sweep()
        now = self.clock()
        member = self.members.get(hello.agent_id)
        if member is None:
            member = self.members[hello.agent_id] = Member(hello, hello.status, now, now)
        newer = hello.instance_id != member.hello.instance_id and not member.removed
        if newer and hello.instance_id in member.instances:
            raise ClaimLost(f"a newer runner of {hello.agent_id} took over (instance {member.hello.instance_id})")
        before, member.frames = member.frames, frames
        member.hello, member.status, member.last_seen_at, member.removed = hello, hello.status, now, False
        member.instances.add(hello.instance_id)
        taken = []
        for entry in self.entries.values():
            for index, delivery in enumerate(entry.deliveries):
                mine = delivery.recipient == agent_principal(hello.agent_id)
                if mine and delivery.state in deliveries.IN_FLIGHT:
                    self.put(entry, index, deliveries.inherit(delivery, hello.instance_id, now))
                    taken.append(delivery.message_id)
        self.emit("agent", id=hello.agent_id, action="joined", instanceId=hello.instance_id)
        return tuple(taken), before

    # --- tokens -------------------------------------------------------------------------------------------------------

    def mint(self, caller: Caller) -> str:
        """Return a new token for a caller."""
        token = secrets.token_urlsafe(24)
        self.tokens[token] = caller
        return token

    def holder(self, token: str, *, grace_s: float = 0.0) -> Caller:
        """Return whose token it is; raise `RelayUnauthorized` for one that is wrong, expired or revoked."""
        caller = self.tokens.get(token)
        if caller is None:
            raise RelayUnauthorized("this relay did not make that token, or it was revoked")
        if caller.expires_at + grace_s <= self.clock():
            raise RelayUnauthorized("the token has expired", hint="renew it", code="token-expired")
        return caller


def illegal(what: str, old: object, new: object) -> RelayRefused:
    """Return the refusal of a move that is not in the table."""
    return RelayRefused(f"{what} is {old} and cannot become {new}", status=409, code="illegal-move")
