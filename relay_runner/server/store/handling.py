"""Claims and receipts: a delivery moves on, by its agent's current instance or by the clock."""

from __future__ import annotations

from relay_runner.errors import RelayNotFound, RelayUnauthorized
from relay_runner.protocol import deliveries
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.messages import ClaimRequest, ClaimResult, Delivery, Receipt, Release
from relay_runner.server.store import views
from relay_runner.server.store.agents import current_instance
from relay_runner.server.store.messages import save
from relay_runner.server.store.rows import Stored, stored_of
from relay_runner.server.store.writer import Transaction

MAX_SWEPT = 500


def claim(tx: Transaction, message_id: int, request: ClaimRequest) -> ClaimResult:
    """Let an agent claim its own delivery, or a claimable one that it answers to."""
    current_instance(tx, request.agent_id, request.instance_id)
    stored, now_is = _find(tx, message_id, request.agent_id)
    result = deliveries.claim(now_is, request, tx.now, lease_s=tx.lease_s)
    if result.granted and result.delivery is not None:
        save(tx, stored, result.delivery)
    return result


def renew(tx: Transaction, message_id: int, request: ClaimRequest) -> Delivery:
    """Prolong a claim."""
    current_instance(tx, request.agent_id, request.instance_id)
    stored, now_is = _find(tx, message_id, request.agent_id)
    return save(tx, stored, deliveries.renew(now_is, request, tx.now, lease_s=tx.lease_s))


def release(tx: Transaction, message_id: int, asked: Release) -> Delivery:
    """Put a claimed delivery back."""
    current_instance(tx, asked.agent_id, asked.instance_id)
    stored, now_is = _find(tx, message_id, asked.agent_id)
    return save(tx, stored, deliveries.release(now_is, asked, tx.now, claimable=stored.claimable))


def receipt(tx: Transaction, message_id: int, report: Receipt) -> Delivery:
    """Move a delivery on by its agent's report."""
    current_instance(tx, report.agent_id, report.instance_id)
    stored, now_is = _find(tx, message_id, report.agent_id)
    after = deliveries.apply_receipt(now_is, report, tx.now, claimable=stored.claimable, lease_s=tx.lease_s)
    return save(tx, stored, after)


def inherit(tx: Transaction, agent_id: str, instance_id: str) -> tuple[int, ...]:
    """Hand an agent's deliveries in flight to its new instance; return their messages' ids."""
    held = [stored_of(row) for row in tx.run("deliveries_held", (agent_principal(agent_id),))]
    taken = []
    for stored in held:
        settled = stored.lapsed(tx.now)
        if deliveries.is_held(settled):
            save(tx, stored, deliveries.inherit(settled, instance_id, tx.now, lease_s=tx.lease_s))
            taken.append(settled.message_id)
        else:
            save(tx, stored, settled)
    return tuple(taken)


def sweep(tx: Transaction) -> int:
    """Apply what time did to the deliveries that are due; return how many there were."""
    due = [stored_of(row) for row in tx.run("deliveries_due", {"now": tx.now, "limit": MAX_SWEPT})]
    for stored in due:
        lapsed = stored.lapsed(tx.now, retired=_retired(tx, stored.delivery))
        if stored.attended and (held := deliveries.attend(lapsed, tx.now, lease_s=tx.lease_s)) is not lapsed:
            tx.run("hold_on", (held.claim_expires_at, stored.id))  # nothing that anybody would want to be told
        else:
            save(tx, stored, lapsed)
    return len(due)


def _retired(tx: Transaction, delivery: Delivery) -> bool:
    kind, _, agent_id = (delivery.recipient or "").partition(":")
    known = tx.one("agent_known", (agent_id,)) if kind == "agent" else None
    return known is not None and not known[0]


def _find(tx: Transaction, message_id: int, agent_id: str) -> tuple[Stored, Delivery]:
    """Return the delivery that is this agent's to handle: as it stands in the table, and as it is by now.

    Raise where there is none for it; one that another agent took is returned, and the rules say so.
    """
    found = [(stored, stored.lapsed(tx.now)) for stored in views.stored_deliveries(tx, message_id)]
    chosen = deliveries.choose([now_is for _, now_is in found], agent_principal(agent_id))
    if chosen is None and not any(stored.claimable for stored, _ in found):
        raise RelayNotFound(f"there is no message {message_id} for agent:{agent_id}")
    if chosen is None or chosen.recipient is None:  # claimable, by whom it means
        message = views.message(tx, message_id)
        own = views.own_addresses(tx, agent_principal(agent_id))
        if message.to not in own or message.sender == agent_principal(agent_id):
            raise RelayUnauthorized(f"message {message_id} is not for agent:{agent_id}", status=403, code="forbidden")
    return next((pair for pair in found if pair[1] is chosen), found[0])
