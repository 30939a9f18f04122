"""The messages of a relay in memory, and the way of each of their deliveries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from relay_runner.errors import RelayNotFound, RelayUnauthorized
from relay_runner.protocol import acceptance, deliveries
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import Address, Kind, agent_principal
from relay_runner.protocol.attachments import Attachment
from relay_runner.protocol.frames import MessageNew
from relay_runner.protocol.messages import (
    MESSAGE_TTL_S,
    OWING,
    Delivery,
    Message,
    MessageQuery,
    MessageRecord,
    NewMessage,
    Reaction,
    State,
)
from relay_runner.protocol.tasks import carried
from relay_runner.relay.memory.board import Board
from relay_runner.relay.memory.members import Members
from relay_runner.relay.memory.tasks import Tasks


@dataclass(slots=True)
class Entry:
    """A message, and everything that became of it."""

    message: Message
    deliveries: list[Delivery] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)


class Mail:
    """Every message that was accepted, by id."""

    def __init__(self, board: Board, members: Members, tasks: Tasks) -> None:
        self._board = board
        self._members = members
        self._tasks = tasks
        tasks.brought_to = self._brought_to
        self.entries: dict[int, Entry] = {}
        self.files: Callable[[Caller, str], Attachment]
        """Returns an attachment that a caller may see; set by who keeps them."""

    def accept(self, caller: Caller, new: NewMessage) -> MessageRecord:
        """Take a message and make its deliveries."""
        caller.need_send()
        address = acceptance.check_new(new)
        known = self._board.remembered(caller, "message", new.idempotency_key)
        if isinstance(known, int):
            return self.record(caller, known)
        parent = None if new.reply_to is None else self.visible(caller, new.reply_to).message
        self._tasks.check_carried(caller, new.payload)
        recipients = self._recipients(caller.subject, new, address)
        files = tuple(self.files(caller, attachment_id) for attachment_id in new.attachments)
        now = self._board.clock()
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
            attachments=files,
            hops=acceptance.hops_after(parent),
            operator=caller.is_operator,
        )
        entry = self.entries[message.id] = Entry(message)
        self._board.remember(caller, "message", new.idempotency_key, message.id)
        self._board.emit("message", id=message.id, **{"from": message.sender}, to=message.to)
        for recipient in recipients:
            entry.deliveries.append(Delivery(message_id=message.id, recipient=recipient, updated_at=now))
            self._told(entry, len(entry.deliveries) - 1, push=True)
        return self.record(caller, message.id)

    def _recipients(self, sender: str, new: NewMessage, address: Address) -> list[str | None]:
        live = {agent_id: member.addresses for agent_id, member in self._members.live().items()}
        if new.claimable and address.kind is not Kind.AGENT:
            return [None]
        retired = address.kind is Kind.AGENT and address.value in self._members.all
        found = acceptance.fan_out(address, sender=sender, agents=live, retired=retired)
        return [None] if new.claimable else list(found)

    def _brought_to(self, task_id: int) -> set[str]:
        carriers = [entry for entry in self.entries.values() if carried(entry.message.payload) == task_id]
        return {one.recipient for entry in carriers for one in entry.deliveries if one.recipient is not None}

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
        meant = [d for d in meant if not query.open or deliveries.is_open(d)]
        return (
            bool(meant)
            and query.sender in (None, message.sender)
            and query.reply_to in (None, message.reply_to)
            and message.id > (query.after or 0)
        )

    def _is_for(self, principal: str, message: Message, delivery: Delivery) -> bool:
        if delivery.recipient is not None or delivery.state is not State.QUEUED:
            return delivery.recipient == principal
        return self._is_meant_for(principal, message)

    def _is_meant_for(self, principal: str, message: Message) -> bool:
        member = self._members.all.get(principal.removeprefix("agent:"))
        return member is not None and message.to in member.addresses and message.sender != principal

    def _concerns(self, caller: Caller, entry: Entry, delivery: Delivery) -> bool:
        if delivery.recipient is not None:
            return caller.is_(delivery.recipient)
        return any(self._is_for(principal, entry.message, delivery) for principal in caller.principals())

    def redeliver(self, caller: Caller, message_id: int, agent_id: str | None) -> MessageRecord:
        """Queue deliveries that ended badly again."""
        entry, found = self._sent_to(message_id, agent_id)
        ended = [index for index in found if deliveries.ended_badly(entry.deliveries[index])]
        now = self._board.clock()
        for index in ended or found[:1]:
            again = deliveries.redeliver(entry.deliveries[index], now, claimable=entry.message.claimable)
            if entry.message.expires_at <= now:
                entry.message = replace(entry.message, expires_at=now + MESSAGE_TTL_S)
            self.put(entry, index, again)
        return self.record(caller, message_id)

    def drop(self, caller: Caller, message_id: int, agent_id: str | None) -> MessageRecord:
        """End queued and unknown deliveries as dead."""
        entry, found = self._sent_to(message_id, agent_id)
        droppable = [index for index in found if entry.deliveries[index].state in deliveries.DROPPABLE]
        for index in droppable or found[:1]:
            dropped = deliveries.drop(entry.deliveries[index], self._board.clock(), by=caller.subject)
            self.put(entry, index, dropped)
        return self.record(caller, message_id)

    def _sent_to(self, message_id: int, agent_id: str | None) -> tuple[Entry, list[int]]:
        entry = self.entry(message_id)
        self.sweep()
        wanted = None if agent_id is None else agent_principal(agent_id)
        found = [index for index, d in enumerate(entry.deliveries) if wanted in (None, d.recipient)]
        if not found:
            raise RelayNotFound(f"message {message_id} was not sent to {wanted}")
        return entry, found

    def find(self, message_id: int, agent_id: str) -> tuple[Entry, int]:
        """Return which delivery of a message is this agent's to handle."""
        self.sweep()
        entry = self.entry(message_id)
        principal = agent_principal(agent_id)
        chosen = deliveries.choose(entry.deliveries, principal)
        if chosen is None and not entry.message.claimable:
            raise RelayNotFound(f"there is no message {message_id} for {principal}")
        if (chosen is None or chosen.recipient is None) and not self._is_meant_for(principal, entry.message):
            raise RelayUnauthorized(f"message {message_id} is not for {principal}", status=403, code="forbidden")
        return entry, next((index for index, delivery in enumerate(entry.deliveries) if delivery is chosen), 0)

    def put(self, entry: Entry, index: int, delivery: Delivery) -> Delivery:
        """Keep a delivery that changed, and tell of it."""
        before = entry.deliveries[index]
        if delivery is not before:
            entry.deliveries[index] = delivery
            taken_up = delivery.attempt != before.attempt or before.not_before is not None
            push = delivery.state is State.QUEUED and delivery.not_before is None and taken_up
            self._told(entry, index, push=push)
            self._tasks.follow(entry.message.payload, before, delivery)
        return delivery

    def _told(self, entry: Entry, index: int, *, push: bool) -> None:
        delivery = entry.deliveries[index]
        self._board.emit(
            "delivery",
            messageId=delivery.message_id,
            **{"from": entry.message.sender},
            recipient=delivery.recipient,
            state=delivery.state.value,
            attempt=delivery.attempt,
        )
        for agent_id, member in self._members.all.items() if push else ():
            if member.frames is not None and self._is_for(agent_principal(agent_id), entry.message, delivery):
                member.frames.put_nowait(MessageNew(message=entry.message, delivery=delivery))

    def sweep(self) -> None:
        """Do what is due by the clock."""
        now = self._board.clock()
        for entry in self.entries.values():
            for index, delivery in enumerate(entry.deliveries):
                member = self._members.all.get((delivery.recipient or "").removeprefix("agent:"))
                lapsed = deliveries.lapse(
                    delivery,
                    now,
                    expires_at=entry.message.expires_at,
                    claimable=entry.message.claimable,
                    retired=member is not None and member.removed,
                    attended=(attended := member is not None and member.attends(delivery)),
                )
                self.put(entry, index, lapsed)
                if attended:
                    entry.deliveries[index] = deliveries.attend(lapsed, now)

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

    def inherit(self, agent_id: str, instance_id: str) -> tuple[int, ...]:
        """Hand an agent's deliveries in flight to its new instance; return their messages' ids."""
        self.sweep()
        taken = []
        for entry in self.entries.values():
            for index, delivery in enumerate(entry.deliveries):
                if delivery.recipient == agent_principal(agent_id) and deliveries.is_held(delivery):
                    self.put(entry, index, deliveries.inherit(delivery, instance_id, self._board.clock()))
                    taken.append(delivery.message_id)
        return tuple(taken)

    def owed(self, agent_id: str) -> list[int]:
        """Return the messages that an agent has to answer, oldest first."""
        me = agent_principal(agent_id)
        answered = {entry.message.reply_to for entry in self.entries.values() if entry.message.sender == me}
        return [
            message_id
            for message_id, entry in self.entries.items()
            if entry.message.reply_required
            and message_id not in answered
            and any(one.recipient == me and one.state in OWING for one in entry.deliveries)
        ]

    def queued(self, agent_id: str) -> int:
        """Return how many deliveries wait for an agent."""
        principal = agent_principal(agent_id)
        everything = (delivery for entry in self.entries.values() for delivery in entry.deliveries)
        return sum(delivery.recipient == principal and delivery.state is State.QUEUED for delivery in everything)
