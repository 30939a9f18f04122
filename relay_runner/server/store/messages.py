"""Posting: accept, reply, react, read and redeliver, each inside one transaction."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from relay_runner.errors import RelayNotFound, RelayRefused
from relay_runner.protocol import acceptance, deliveries
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import Address, Kind, agent_principal
from relay_runner.protocol.attachments import Attachment
from relay_runner.protocol.messages import MESSAGE_TTL_S, Delivery, Message, MessageRecord, NewMessage, NewReply, State
from relay_runner.server.store import attachments, tasks, views
from relay_runner.server.store.rows import Stored, delivery_values, to_json
from relay_runner.server.store.writer import Transaction


def accept(tx: Transaction, caller: Caller, new: NewMessage, address: Address) -> MessageRecord:
    """Take a message whose form was checked already, and make its deliveries."""
    if new.idempotency_key is not None:
        since = tx.now - acceptance.IDEMPOTENCY_S
        known = tx.one("get_key", (caller.subject, "message", new.idempotency_key, since))
        if known is not None:
            return views.record(tx, caller, int(known[0]))
    parent = None if new.reply_to is None else views.visible_message(tx, caller, new.reply_to)
    tasks.check_carried(tx, caller, new.payload)
    recipients = _recipients(tx, caller.subject, new, address)
    files = tuple(attachments.visible(tx, caller, attachment_id) for attachment_id in new.attachments)
    message = _insert(tx, caller, new, address, acceptance.hops_after(parent), files)
    attachments.use(tx, message.id, files)
    made = tuple(_add_delivery(tx, message, recipient) for recipient in recipients)
    if new.idempotency_key is not None:
        tx.run("put_key", (caller.subject, "message", new.idempotency_key, str(message.id), tx.now))
    return MessageRecord(message=message, deliveries=made)


def reply(tx: Transaction, caller: Caller, message_id: int, answer: NewReply) -> MessageRecord:
    """Take an answer to a message; it goes to that message's sender."""
    message = views.visible_message(tx, caller, message_id)
    if message.sender == caller.subject:
        raise RelayRefused(f"message {message_id} is your own", hint="reply to what others sent", status=422)
    new = NewMessage(
        to=message.sender,
        body=answer.body,
        subject=answer.subject,
        reply_to=message_id,
        attachments=answer.attachments,
        idempotency_key=answer.idempotency_key,
    )
    return accept(tx, caller, new, acceptance.check_new(new))


def react(tx: Transaction, caller: Caller, message_id: int, emoji: str) -> None:
    """Add a reaction; the same one again is none."""
    message = views.visible_message(tx, caller, message_id)
    if tx.run("insert_reaction", (message_id, caller.subject, emoji, tx.now)).rowcount:
        tx.emit("reaction", {"messageId": message_id, "from": caller.subject, "to": message.sender, "emoji": emoji})


def read(tx: Transaction, caller: Caller, message_id: int) -> None:
    """Mark the caller's own delivery as read."""
    for stored in views.stored_deliveries(tx, message_id):
        if stored.delivery.recipient is not None and caller.is_(stored.delivery.recipient):
            person = stored.delivery.recipient.startswith(f"{Kind.PERSON}:")
            save(tx, stored, deliveries.mark_read(stored.delivery, tx.now, person=person))
            return
    views.visible_message(tx, caller, message_id)
    raise RelayNotFound(f"message {message_id} was not delivered to {caller.subject}")


def redeliver(tx: Transaction, caller: Caller, message_id: int, agent_id: str | None) -> MessageRecord:
    """Queue one agent's delivery that ended badly again, or all of them."""
    message = views.message(tx, message_id)
    found = _sent_to(tx, message_id, agent_id)
    ended = [stored for stored in found if deliveries.ended_badly(stored.delivery)]
    if message.expires_at <= tx.now:
        message = replace(message, expires_at=tx.now + MESSAGE_TTL_S)
        ends = {"expires_at": message.expires_at, "id": message_id}
        tx.run("prolong_message", ends)
        tx.run("prolong_deliveries", ends)
    for stored in ended or found[:1]:
        save(tx, stored, deliveries.redeliver(stored.delivery, tx.now, claimable=stored.claimable), message)
    return views.record(tx, caller, message_id)


def drop(tx: Transaction, caller: Caller, message_id: int, agent_id: str | None) -> MessageRecord:
    """End one agent's queued or unknown delivery as dead, or all of them."""
    views.message(tx, message_id)
    found = [(stored, stored.lapsed(tx.now)) for stored in _sent_to(tx, message_id, agent_id)]
    droppable = [pair for pair in found if pair[1].state in deliveries.DROPPABLE]
    for stored, now_is in droppable or found[:1]:
        save(tx, stored, deliveries.drop(now_is, tx.now, by=caller.subject))
    return views.record(tx, caller, message_id)


def _sent_to(tx: Transaction, message_id: int, agent_id: str | None) -> list[Stored]:
    wanted = None if agent_id is None else agent_principal(agent_id)
    found = [s for s in views.stored_deliveries(tx, message_id) if wanted in (None, s.delivery.recipient)]
    if not found:
        raise RelayNotFound(f"message {message_id} was not sent to {wanted}")
    return found


def save(tx: Transaction, stored: Stored, delivery: Delivery, message: Message | None = None) -> Delivery:
    """Write a delivery that changed, with its event; `message` goes along where it is to be pushed to the agent."""
    if delivery is stored.delivery:
        return delivery
    tx.run("update_delivery", (*delivery_values(delivery), stored.id))
    ends = tx.one("message_ends", (delivery.message_id,))
    data: dict[str, object] = {
        "messageId": delivery.message_id,
        "from": None if ends is None else ends[0],
        "recipient": delivery.recipient,
        "state": delivery.state.value,
        "attempt": delivery.attempt,
    }
    if delivery.outcome is not None:
        data["outcome"] = delivery.outcome.value
    if delivery.reason is not None:
        data["reason"] = delivery.reason
    if delivery.held is not None:
        data["held"] = delivery.held
    if delivery.usage is not None:
        data["usage"] = msgspec.to_builtins(delivery.usage)
    tx.emit("delivery", data, message=message or _to_push(tx, stored.delivery, delivery), delivery=delivery)
    if ends is not None and isinstance(ends[2], int):
        tasks.follow(tx, ends[2], stored.delivery, delivery)
    return delivery


def _to_push(tx: Transaction, before: Delivery, after: Delivery) -> Message | None:
    """Return the message when its delivery is the agent's to take up (again)."""
    if after.state is not State.QUEUED or after.not_before is not None:
        return None
    taken_up = after.attempt != before.attempt or before.not_before is not None
    return views.message(tx, after.message_id) if taken_up else None


def _recipients(tx: Transaction, sender: str, new: NewMessage, address: Address) -> list[str | None]:
    if address.kind is Kind.AGENT:
        known = tx.one("agent_known", (address.value,))
        if known is None:
            raise acceptance.unknown_agent(address.value, [row[0] for row in tx.run("agent_ids")])
        found = acceptance.fan_out(address, sender=sender, agents={}, retired=True)
    elif new.claimable:
        return [None]
    else:
        found = acceptance.fan_out(address, sender=sender, agents=views.addresses(tx))
    return [None] if new.claimable else list(found)


def _insert(
    tx: Transaction, caller: Caller, new: NewMessage, address: Address, hops: int, files: tuple[Attachment, ...]
) -> Message:
    message = Message(
        id=0,
        sender=caller.subject,
        to=str(address),
        body=new.body,
        subject=new.subject,
        timing=new.timing,
        claimable=new.claimable,
        reply_to=new.reply_to,
        reply_required=new.reply_required,
        payload=new.payload,
        attachments=files,
        hops=hops,
        operator=caller.is_operator,
        created_at=tx.now,
        expires_at=tx.now + new.ttl_s,
    )
    values = (
        message.sender,
        message.to,
        message.body,
        message.subject,
        message.timing.value,
        message.claimable,
        message.reply_to,
        message.reply_required,
        to_json(message.payload) if message.payload else "{}",
        to_json(message.attachments) if message.attachments else "[]",
        message.hops,
        message.operator,
        message.created_at,
        message.expires_at,
    )
    cursor = tx.run("insert_message", values)
    message = replace(message, id=cursor.lastrowid)
    data: dict[str, object] = {"id": message.id, "from": message.sender, "to": message.to}
    if message.reply_to is not None:
        data["replyTo"] = message.reply_to
    tx.emit("message", data, message=message)
    return message


def _add_delivery(tx: Transaction, message: Message, recipient: str | None) -> Delivery:
    tx.run("insert_delivery", (message.id, recipient, tx.now, message.claimable, message.expires_at))
    delivery = Delivery(message_id=message.id, recipient=recipient, updated_at=tx.now)
    data = {
        "messageId": message.id,
        "from": message.sender,
        "recipient": recipient,
        "state": State.QUEUED.value,
        "attempt": 1,
    }
    tx.emit("delivery", data, message=message, delivery=delivery)
    return delivery
