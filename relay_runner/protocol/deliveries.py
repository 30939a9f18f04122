"""The rules that move a delivery on: pure functions, `now` goes in, the new delivery comes out.

Every relay applies these inside whatever makes a change atomic there (a transaction, an event loop), so that the
rules exist once. A rule raises `ClaimLost` for somebody who does not hold the delivery (any more) and `RelayRefused`
for a move that `MOVES` does not know. The same request a second time answers the same and changes nothing.

`attempt` counts every time a delivery was put back into the queue; `failures` counts the tries that provably
failed before anything entered the conversation, and the fifth one makes the delivery dead. Such a try is given back by
a release, or taken back: it goes in again under another nonce, which the one that was seen can never have.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from relay_runner.errors import ClaimLost, RelayRefused
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.messages import (
    IN_PROVIDER,
    LEASE_S,
    MAX_ATTEMPTS,
    MOVES,
    TERMINAL,
    UNPROVEN,
    ClaimRequest,
    ClaimResult,
    Delivery,
    Outcome,
    Receipt,
    Release,
    State,
)

MAX_LEASE_S = 24 * 3600.0
MAX_DELAY_S = 24 * 3600.0
RENEWAL_ROUND_S = 60.0
"""How long whoever holds a delivery has at least to renew it: after a jump of the clock, or a relay that was away."""
IN_FLIGHT = IN_PROVIDER | {State.CLAIMED}
"""The states in which exactly one instance holds the delivery, under a lease."""
DROPPABLE = frozenset({State.QUEUED, State.UNKNOWN})
"""What a person may give up: nobody works on it."""
DROPPED = "dropped by "
"""How the reason of a delivery that somebody gave up begins."""


def lapse(
    delivery: Delivery,
    now: float,
    *,
    expires_at: float,
    claimable: bool,
    retired: bool = False,
    attended: bool = False,
) -> Delivery:
    """Return what the passing of time alone made of a delivery; the same object where that is nothing.

    `expires_at` is the message's end of life; `retired` says that the agent it is for was removed. `attended` says that
    the instance which holds it is on the bus: then its lease does not run out, for it is there to be asked.
    """
    lease = delivery.claim_expires_at
    if delivery.state in IN_FLIGHT and lease is not None and lease <= now and not attended:
        if delivery.state is State.CLAIMED:
            delivery = requeue(delivery, now, reason="lease expired", claimable=claimable)
        else:
            delivery = _settle(delivery, State.UNKNOWN, now, reason="lease expired")
    if delivery.state is State.QUEUED:
        if expires_at <= now:
            return _settle(delivery, State.DEAD, now, reason="agent-removed" if retired else "expired")
        if delivery.not_before is not None and delivery.not_before <= now:
            delivery = replace(delivery, not_before=None, updated_at=now)
    return delivery


def is_open(delivery: Delivery) -> bool:
    """Say whether something is still to be done on it: what ends at `submitted` for want of evidence is not open."""
    return delivery.state not in TERMINAL and not (delivery.state is State.SUBMITTED and delivery.evidence == UNPROVEN)


def requeue(
    delivery: Delivery, now: float, *, reason: str | None, claimable: bool, not_before: float | None = None
) -> Delivery:
    """Return the delivery in the queue again, as its next attempt; a claimable one is anybody's again."""
    return replace(
        delivery,
        recipient=None if claimable else delivery.recipient,
        state=State.QUEUED,
        attempt=delivery.attempt + 1,
        instance_id=None,
        claim_expires_at=None,
        nonce=None,
        evidence=None,
        outcome=None,
        result=None,
        carried=(),
        usage=None,
        reason=reason,
        held=None,
        not_before=not_before,
        updated_at=now,
    )


def round_s(lease_s: float) -> float:
    """Return how long a round of renewals may take, where leases are of this length."""
    return min(RENEWAL_ROUND_S, lease_s)


def attend(delivery: Delivery, now: float, *, lease_s: float = LEASE_S) -> Delivery:
    """Return a delivery whose lease would have run out, held on for an instance that is on the bus."""
    if not is_held(delivery) or (delivery.claim_expires_at or 0.0) > now:
        return delivery
    return replace(delivery, claim_expires_at=now + round_s(lease_s))


def claim(delivery: Delivery, request: ClaimRequest, now: float, *, lease_s: float = LEASE_S) -> ClaimResult:
    """Answer a claim of an agent that the delivery may go to; "taken by another" is a result.

    `lease_s` is, here as in the other rules, what is granted to one who asks for no time of their own.
    """
    expires_at = now + _lease(request.lease_s, lease_s)
    principal = agent_principal(request.agent_id)
    if delivery.state in IN_FLIGHT and (delivery.recipient, delivery.instance_id) == (principal, request.instance_id):
        delivery = replace(delivery, claim_expires_at=expires_at, updated_at=now)
        return ClaimResult(granted=True, claim_expires_at=expires_at, delivery=delivery)
    early = delivery.not_before is not None and delivery.not_before > now
    stale = request.attempt is not None and request.attempt != delivery.attempt
    if delivery.state is not State.QUEUED or early or stale:
        # What another agent made of it, its nonce above all, is nobody else's business.
        own = delivery if delivery.recipient in (None, principal) else None
        return ClaimResult(granted=False, holder=delivery.recipient, delivery=own)
    delivery = replace(
        delivery,
        recipient=principal,
        state=State.CLAIMED,
        instance_id=request.instance_id,
        claim_expires_at=expires_at,
        held=None,
        updated_at=now,
    )
    return ClaimResult(granted=True, claim_expires_at=expires_at, delivery=delivery)


def is_held(delivery: Delivery) -> bool:
    """Say whether an instance still has to report on it: in flight, and not at the end of what can be proven."""
    return delivery.state in IN_FLIGHT and delivery.claim_expires_at is not None


def renew(delivery: Delivery, request: ClaimRequest, now: float, *, lease_s: float = LEASE_S) -> Delivery:
    """Return the delivery with a fresh lease; raise `ClaimLost` where it is not held by this instance."""
    if not is_held(delivery):
        raise ClaimLost(f"message {delivery.message_id} is {delivery.state}, nobody holds it")
    _check_attempt(delivery, request.attempt)
    _check_recipient(delivery, request.agent_id)
    _check_holder(delivery, request.instance_id)
    return replace(delivery, claim_expires_at=now + _lease(request.lease_s, lease_s), updated_at=now)


def release(delivery: Delivery, release: Release, now: float, *, claimable: bool) -> Delivery:
    """Return the delivery in the queue again, or dead after its last failure."""
    if delivery.state is State.QUEUED and delivery.attempt == release.attempt + 1:
        return delivery
    if delivery.state is State.DEAD and _is_by(delivery, release):
        return delivery
    _check_attempt(delivery, release.attempt)
    _check_recipient(delivery, release.agent_id)
    if delivery.state in IN_FLIGHT:
        _check_holder(delivery, release.instance_id)
    # What was seen is only taken back by a receipt, with the proof: a release says nothing of what entered.
    if State.QUEUED not in MOVES[delivery.state] or delivery.state is State.SEEN:
        raise _illegal(delivery, State.QUEUED)
    failures = delivery.failures + 1 if release.failed else delivery.failures
    delivery = replace(delivery, failures=failures)
    if release.failed and failures >= MAX_ATTEMPTS:
        delivery = replace(delivery, instance_id=release.instance_id)
        return _settle(delivery, State.DEAD, now, reason=f"{failures} attempts failed: {release.reason}")
    not_before = now + min(release.delay_s, MAX_DELAY_S) if release.delay_s > 0 else None
    return requeue(delivery, now, reason=release.reason, claimable=claimable, not_before=not_before)


def apply_receipt(
    delivery: Delivery, receipt: Receipt, now: float, *, claimable: bool, lease_s: float = LEASE_S
) -> Delivery:
    """Return the delivery after a report of the agent's current instance.

    The caller has made sure that `receipt.instance_id` is the current instance of the agent.
    """
    if receipt.state is State.QUEUED and delivery.state is State.QUEUED and _is_told(delivery, receipt):
        return delivery
    _check_attempt(delivery, receipt.attempt)
    _check_recipient(delivery, receipt.agent_id)
    if delivery.state in IN_FLIGHT:
        _check_holder(delivery, receipt.instance_id)
    if receipt.state not in MOVES[delivery.state]:
        raise _illegal(delivery, receipt.state)
    _check_proof(delivery, receipt)
    if _takes_back(delivery, receipt):
        delivery = replace(delivery, failures=delivery.failures + 1, evidence=None)
        if delivery.failures >= MAX_ATTEMPTS:
            return _settle(delivery, State.DEAD, now, reason=f"{delivery.failures} attempts failed: {_why(receipt)}")
    if receipt.state is State.QUEUED:
        if receipt.held is None and delivery.state is not State.QUEUED:
            return requeue(delivery, now, reason=receipt.reason, claimable=claimable)
        return _hold(delivery, receipt.held, now, claimable=claimable)
    if receipt.state not in IN_FLIGHT and receipt.state is delivery.state:
        return delivery  # a terminal state is told once; the first report stands
    return replace(
        delivery,
        state=receipt.state,
        instance_id=receipt.instance_id,
        claim_expires_at=now + _lease(receipt.lease_s, lease_s) if _leased(receipt) else None,
        nonce=receipt.nonce or delivery.nonce,
        evidence=receipt.evidence or delivery.evidence,
        outcome=receipt.outcome or delivery.outcome,
        result=receipt.result if receipt.result is not None else delivery.result,
        carried=receipt.carried or delivery.carried,
        usage=receipt.usage or delivery.usage,
        reason=receipt.reason,
        held=receipt.held if receipt.state in IN_FLIGHT else None,
        not_before=None,
        updated_at=now,
    )


def redeliver(delivery: Delivery, now: float, *, claimable: bool) -> Delivery:
    """Return a delivery that ended badly in the queue again, with all its attempts before it."""
    if not ended_badly(delivery):
        said = "done (completed)" if delivery.state is State.DONE else delivery.state
        raise RelayRefused(
            f"message {delivery.message_id} is {said}: only a message that ended without completing can be redelivered",
            status=409,
            code="illegal-move",
        )
    return replace(requeue(delivery, now, reason="redelivered", claimable=claimable), failures=0)


def ended_badly(delivery: Delivery) -> bool:
    """Say whether a delivery has any end but the good one: then a person may want it delivered again."""
    return delivery.state in TERMINAL and delivery.outcome is not Outcome.COMPLETED


def drop(delivery: Delivery, now: float, *, by: str) -> Delivery:
    """Return a delivery that nobody works on as dead: a person gave it up."""
    if delivery.state not in DROPPABLE:
        raise RelayRefused(
            f"message {delivery.message_id} is {delivery.state}: only what is queued or unknown can be dropped",
            status=409,
            code="illegal-move",
        )
    return _settle(delivery, State.DEAD, now, reason=f"{DROPPED}{by}")


def inherit(delivery: Delivery, instance_id: str, now: float, *, lease_s: float = LEASE_S) -> Delivery:
    """Return a delivery in flight as its agent's new instance takes it over, with a fresh lease."""
    return replace(delivery, instance_id=instance_id, claim_expires_at=now + lease_s, updated_at=now)


def mark_read(delivery: Delivery, now: float, *, person: bool) -> Delivery:
    """Return the delivery as read; for a person, reading is the proof that it was seen."""
    if delivery.read_at is not None:
        return delivery
    if person and delivery.state is State.QUEUED:
        delivery = replace(delivery, state=State.SEEN, evidence="read")
    return replace(delivery, read_at=now, updated_at=now)


def choose(deliveries: Collection[Delivery], principal: str) -> Delivery | None:
    """Return which of a message's deliveries is this principal's: its own, else one that nobody took yet."""
    own = next((delivery for delivery in deliveries if delivery.recipient == principal), None)
    return own or next((delivery for delivery in deliveries if delivery.recipient is None), None)


def _settle(delivery: Delivery, state: State, now: float, *, reason: str) -> Delivery:
    return replace(
        delivery, state=state, claim_expires_at=None, reason=reason, held=None, not_before=None, updated_at=now
    )


def _hold(delivery: Delivery, held: str | None, now: float, *, claimable: bool) -> Delivery:
    """Return the delivery as waiting for a reason that has nothing to do with it: the same attempt goes on later."""
    return replace(
        delivery,
        recipient=None if claimable else delivery.recipient,
        state=State.QUEUED,
        instance_id=None,
        claim_expires_at=None,
        nonce=None,
        held=held,
        updated_at=now,
    )


def _is_told(delivery: Delivery, receipt: Receipt) -> bool:
    """Say whether a queued delivery is what this report made of it, the first time that it came."""
    if receipt.held is None:
        return delivery.attempt == receipt.attempt + 1
    return (delivery.recipient, delivery.attempt, delivery.held) == (None, receipt.attempt, receipt.held)


def _leased(receipt: Receipt) -> bool:
    """Say whether more is to be expected: a submission that can never be proven is over."""
    return receipt.state in IN_FLIGHT and receipt.evidence != UNPROVEN


def _lease(asked_s: float | None, lease_s: float) -> float:
    if asked_s is None:
        return lease_s
    lease_s = asked_s
    if not 0 < lease_s <= MAX_LEASE_S:
        raise RelayRefused(f"a lease of {lease_s:g} s cannot be granted", hint="ask for up to 86400 s", status=422)
    return lease_s


def _check_attempt(delivery: Delivery, attempt: int | None) -> None:
    if attempt is not None and attempt != delivery.attempt:
        raise ClaimLost(f"message {delivery.message_id} is at attempt {delivery.attempt}, not {attempt}")


def _check_holder(delivery: Delivery, instance_id: str) -> None:
    if delivery.instance_id != instance_id:
        raise ClaimLost(f"message {delivery.message_id} is held by {delivery.recipient} as another instance")


def _check_recipient(delivery: Delivery, agent_id: str) -> None:
    if delivery.recipient != agent_principal(agent_id):
        raise ClaimLost(f"message {delivery.message_id} is not held by agent:{agent_id}")


def _takes_back(delivery: Delivery, receipt: Receipt) -> bool:
    """Say whether this begins another try, of which the one before provably never entered the conversation."""
    began = delivery.state in IN_PROVIDER and delivery.nonce is not None
    return began and receipt.state is State.SUBMITTING and receipt.nonce not in (None, delivery.nonce)


def _why(receipt: Receipt) -> str:
    return receipt.reason or "the program ended each time before it got the message"


def _is_by(delivery: Delivery, release: Release) -> bool:
    return delivery.attempt == release.attempt and delivery.instance_id == release.instance_id


def _check_proof(delivery: Delivery, receipt: Receipt) -> None:
    if receipt.state is State.SEEN and not (receipt.evidence or delivery.evidence):
        raise RelayRefused("a receipt for `seen` needs its evidence", status=422)
    if delivery.state is State.SEEN and receipt.state is State.SUBMITTING and not _takes_back(delivery, receipt):
        raise RelayRefused("a message that was seen can only go in again with a new nonce", status=422)
    if delivery.state is State.SEEN and receipt.state is State.QUEUED and (receipt.held or not receipt.reason):
        raise RelayRefused("a receipt that withdraws `seen` needs a reason", status=422)
    if receipt.state is State.DONE and receipt.outcome is None:
        raise RelayRefused("a receipt for `done` needs its outcome", status=422)


def _illegal(delivery: Delivery, state: State) -> RelayRefused:
    return RelayRefused(
        f"message {delivery.message_id} is {delivery.state} and cannot become {state}", status=409, code="illegal-move"
    )
