"""What is read from the store, and who may read it."""

from __future__ import annotations

from msgspec.structs import replace

from relay_runner.errors import RelayNotFound, RelayUnauthorized
from relay_runner.protocol import acceptance
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import Kind, agent_principal
from relay_runner.protocol.agents import Agent
from relay_runner.protocol.events import Event
from relay_runner.protocol.messages import (
    OWING,
    TERMINAL,
    UNPROVEN,
    Delivery,
    Message,
    MessageQuery,
    MessageRecord,
    Reaction,
    State,
)
from relay_runner.server.store.base import Counts
from relay_runner.server.store.rows import Stored, agent_of, message_of, object_of, stored_of, strings_of, to_json
from relay_runner.server.store.sql import queries
from relay_runner.server.store.writer import Transaction

MAX_PAGE = 500
_OWING = to_json(sorted(OWING))
MAX_PAGE_BYTES = 8 * 1024 * 1024
"""A page of messages ends early where its bodies are larger than this."""


def message(tx: Transaction, message_id: int) -> Message:
    """Return a message; raise `RelayNotFound` where there is none."""
    row = tx.one("message", (message_id,)) if 0 < message_id < 2**63 else None
    if row is None:
        raise RelayNotFound(f"there is no message {message_id}")
    return message_of(row)


def stored_deliveries(tx: Transaction, message_id: int) -> list[Stored]:
    """Return a message's deliveries as they stand in the table, oldest first."""
    return [stored_of(row) for row in tx.run("deliveries", (message_id,))]


def visible_message(tx: Transaction, caller: Caller, message_id: int) -> Message:
    """Return a message that the caller sent, received, or could take."""
    return _record(tx, caller, message_id).message


def record(tx: Transaction, caller: Caller, message_id: int) -> MessageRecord:
    """Return a message with what the caller may know of it: a recipient sees its own delivery, the sender all."""
    found = _record(tx, caller, message_id)
    replies = tuple(row[0] for row in tx.run("replies", (message_id,)))
    reactions = tuple(
        Reaction(sender=row[0], emoji=row[1], created_at=row[2]) for row in tx.run("reactions", (message_id,))
    )
    return replace(found, replies=replies, reactions=reactions)


def records(tx: Transaction, caller: Caller, query: MessageQuery) -> list[MessageRecord]:
    """Return a page of messages."""
    query = _restricted(caller, query)
    found: list[MessageRecord] = []
    size = 0
    for message_id in _ids(tx, query):
        entry = record(tx, caller, message_id)
        size += len(entry.message.body)
        if found and size > MAX_PAGE_BYTES:
            break
        found.append(entry)
    return found


def agent(tx: Transaction, agent_id: str) -> Agent:
    """Return an agent; raise `RelayNotFound` with the nearest name where there is none."""
    return replace(known_agent(tx, agent_id), obligations=_owed(tx).get(agent_principal(agent_id), 0))


def known_agent(tx: Transaction, agent_id: str) -> Agent:
    """Return an agent without what it owes, which takes looking at every message that asks for a reply."""
    row = tx.one("agent", (agent_id,))
    if row is None:
        raise acceptance.unknown_agent(agent_id, [row[0] for row in tx.run("agent_ids")])
    return agent_of(row)


def agents(tx: Transaction) -> list[Agent]:
    """Return every agent, by id."""
    owed = _owed(tx)
    found = [agent_of(row) for row in tx.run("agents")]
    return [replace(one, obligations=owed.get(agent_principal(one.id), 0)) for one in found]


def obligations(tx: Transaction, caller: Caller, agent_id: str) -> list[MessageRecord]:
    """Return what an agent has to answer, oldest first."""
    known_agent(tx, agent_id)
    asked = {"agent": agent_principal(agent_id), "owing": _OWING, "limit": MAX_PAGE}
    return [record(tx, caller, row[0]) for row in tx.run("obligations", asked).fetchall()]


def _owed(tx: Transaction) -> dict[str, int]:
    return dict(tx.run("obligation_counts", {"owing": _OWING}).fetchall())


def addresses(tx: Transaction) -> dict[str, frozenset[str]]:
    """Return every agent's addresses, by id."""
    return {
        row[0]: acceptance.addresses_of(
            agent_id=row[0],
            label=row[1],
            tags=strings_of(row[2]),
            capabilities=strings_of(row[3]),
            broad=bool(row[4]),
        )
        for row in tx.run("agent_addresses")
    }


def events_after(tx: Transaction, seq: int, limit: int) -> list[Event]:
    """Return the next events of the log."""
    rows = tx.run("events_after", (seq, limit))
    return [Event(seq=row[0], type=row[1], at=row[2], data=object_of(row[3])) for row in rows]


def counts(tx: Transaction) -> Counts:
    """Return how much there is."""
    row = tx.one("counts")
    return Counts(*row) if row is not None else Counts(0, 0, 0)


def _record(tx: Transaction, caller: Caller, message_id: int) -> MessageRecord:
    found = message(tx, message_id)
    everything = [stored.lapsed(tx.now) for stored in stored_deliveries(tx, message_id)]
    if caller.may_see(found.sender):
        return MessageRecord(message=found, deliveries=tuple(everything))
    visible = tuple(delivery for delivery in everything if _concerns(tx, caller, found, delivery))
    if not visible:
        # The same answer as for a message that does not exist: a guessed id tells nothing.
        raise RelayNotFound(f"there is no message {message_id} for {caller.subject}")
    return MessageRecord(message=found, deliveries=visible)


def _concerns(tx: Transaction, caller: Caller, found: Message, delivery: Delivery) -> bool:
    if delivery.recipient is not None:
        return caller.is_(delivery.recipient)
    return any(found.to in own_addresses(tx, principal) for principal in caller.principals())


def own_addresses(tx: Transaction, principal: str) -> frozenset[str]:
    """Return the addresses that mean an agent, or nothing for a person or an agent unknown."""
    kind, _, agent_id = principal.partition(":")
    return addresses(tx).get(agent_id, frozenset()) if kind == Kind.AGENT else frozenset()


def _restricted(caller: Caller, query: MessageQuery) -> MessageQuery:
    """Return the query with what the caller may not read left out."""
    if caller.operates or (query.recipient and caller.is_(query.recipient)):
        return query
    if query.sender is not None and caller.is_(query.sender):
        return query
    if query.recipient is None:
        return replace(query, recipient=caller.subject)
    raise RelayUnauthorized(f"the messages of {query.recipient} are not yours to read", status=403, code="forbidden")


def _ids(tx: Transaction, query: MessageQuery) -> list[int]:
    name = "list_received" if query.recipient else "list_sent" if query.sender else "list_all"
    parameters: dict[str, object] = {
        "recipient": query.recipient,
        "sender": query.sender,
        "states": to_json([state.value for state in _wanted_states(query)]),
        "unread": query.unread,
        "open": query.open,
        "unproven": UNPROVEN,
        "reply_to": query.reply_to,
        "after": query.after or 0,
        "limit": max(1, min(query.limit, MAX_PAGE)),
    }
    statement = queries()[name]
    if query.recipient:
        parameters["addresses"] = to_json(sorted(own_addresses(tx, query.recipient)))
    wanted = {key: value for key, value in parameters.items() if f":{key}" in statement}
    order = "ASC" if query.oldest_first else "DESC"
    return [row[0] for row in tx.ordered(name, order, wanted)]


def _wanted_states(query: MessageQuery) -> list[State]:
    """Return the states asked for, without those that are never open where only open deliveries are."""
    return [state for state in query.states or State if not (query.open and state in TERMINAL)]
