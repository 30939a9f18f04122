"""The rules that move deliveries: whole lives of one, made up by hypothesis, keep the law; and the cases by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay_runner.errors import ClaimLost, RelayRefused, RelayRunnerError
from relay_runner.protocol import deliveries
from relay_runner.protocol.messages import (
    MAX_ATTEMPTS,
    MOVES,
    TERMINAL,
    UNPROVEN,
    ClaimRequest,
    Delivery,
    Outcome,
    Receipt,
    Release,
    State,
)

END = 10_000.0
LEASE = 60.0


def delivery(state: State = State.QUEUED, **more: object) -> Delivery:
    held = state in deliveries.IN_FLIGHT
    return replace(
        Delivery(
            message_id=1,
            recipient="agent:bob",
            state=state,
            instance_id="one" if held else None,
            claim_expires_at=LEASE if held else None,
        ),
        **more,
    )


def receipt(state: State, attempt: int = 1, instance_id: str = "one", **more: object) -> Receipt:
    made = Receipt(
        agent_id="bob",
        instance_id=instance_id,
        attempt=attempt,
        state=state,
        evidence="hook",
        outcome=Outcome.COMPLETED if state is State.DONE else None,
        lease_s=LEASE,
    )
    return replace(made, **more)


def request(instance_id: str = "one", **more: object) -> ClaimRequest:
    return replace(ClaimRequest(agent_id="bob", instance_id=instance_id, lease_s=LEASE), **more)


def release(attempt: int = 1, **more: object) -> Release:
    return replace(Release(agent_id="bob", instance_id="one", attempt=attempt, reason="busy"), **more)


told = st.builds(
    lambda state, **more: receipt(state, **more),
    st.sampled_from(State),
    nonce=st.sampled_from([None, "n1", "n2", "n3"]),
    reason=st.sampled_from([None, "r"]),
)
step = st.one_of(
    st.tuples(st.just("receipt"), told, st.integers(-1, 1)),
    st.tuples(st.just("release"), st.booleans(), st.integers(-1, 1)),
    st.tuples(st.just("claim"), st.just(None), st.just(0)),
    st.tuples(st.just("renew"), st.just(None), st.just(0)),
    st.tuples(st.just("time"), st.sampled_from([1.0, LEASE, 5000.0]), st.just(0)),
)


def take(now_is: Delivery, kind: str, value: object, offset: int, now: float, claimable: bool) -> Delivery:
    attempt = now_is.attempt + offset
    if kind == "receipt":
        assert isinstance(value, Receipt)
        return deliveries.apply_receipt(now_is, replace(value, attempt=attempt), now, claimable=claimable)
    if kind == "release":
        return deliveries.release(now_is, release(attempt, failed=bool(value)), now, claimable=claimable)
    if kind == "renew":
        return deliveries.renew(now_is, request(), now)
    return deliveries.claim(now_is, request(), now).delivery or now_is


@given(st.lists(step, max_size=40), st.booleans())
def test_no_life_of_a_delivery_breaks_the_law(steps: list[tuple[str, object, int]], claimable: bool) -> None:
    now, before = 0.0, delivery(recipient=None if claimable else "agent:bob")
    for kind, value, offset in steps:
        if kind == "time":
            now += float(value)  # type: ignore[arg-type]
            after = deliveries.lapse(before, now, expires_at=END, claimable=claimable)
        else:
            try:
                after = take(before, kind, value, offset, now, claimable)
            except RelayRunnerError as error:
                assert isinstance(error, ClaimLost | RelayRefused) and "\n" not in str(error)
                continue
        check_step(before, after, kind)
        before = after


def check_step(before: Delivery, after: Delivery, kind: str) -> None:
    if before.state in TERMINAL:
        late = before.state is State.UNKNOWN and kind == "receipt" and after.state in (State.SEEN, State.DONE)
        assert late or after.state is before.state
    assert after.attempt - before.attempt in (0, 1)
    if after.attempt > before.attempt:
        assert after.state in (State.QUEUED, State.DEAD)  # dead: requeued by its lease after its end
        assert before.state not in TERMINAL
        assert before.state is not State.SEEN or (after.state is State.QUEUED and after.reason), (
            "taken back, with proof"
        )
    assert (after.instance_id is not None) or after.state not in deliveries.IN_FLIGHT
    assert (after.claim_expires_at is not None) == (after.state in deliveries.IN_FLIGHT)
    assert after.state in MOVES[before.state] or kind in ("claim", "time")
    assert after.failures <= MAX_ATTEMPTS
    if before.state is State.SEEN and after.state in (State.QUEUED, State.SUBMITTING):
        assert kind == "receipt" and after.evidence is None
        assert after.state is State.QUEUED or (after.nonce != before.nonce and after.failures == before.failures + 1)


@given(st.sampled_from(State), st.sampled_from(State))
def test_a_receipt_moves_only_as_the_table_says_and_twice_is_once(old: State, new: State) -> None:
    before = delivery(old, nonce="old")
    if new not in MOVES[old]:
        with pytest.raises(RelayRefused) as caught:
            deliveries.apply_receipt(before, receipt(new), 1.0, claimable=False)
        assert caught.value.status == 409
        return
    told = receipt(new, nonce="n", reason="r")
    after = deliveries.apply_receipt(before, told, 1.0, claimable=False)
    assert after.state is new
    again = deliveries.apply_receipt(after, told, 1.0, claimable=False)
    assert again == after


def test_a_program_that_died_before_it_had_what_it_told_as_seen_takes_that_back() -> None:
    seen = delivery(State.SEEN, nonce="old", evidence="hook")
    again = deliveries.apply_receipt(seen, receipt(State.SUBMITTING, nonce="new", evidence=None), 1.0, claimable=False)
    assert (again.state, again.nonce, again.evidence, again.failures, again.attempt) == (
        State.SUBMITTING, "new", None, 1, 1,
    )  # fmt: skip
    queued = deliveries.apply_receipt(seen, receipt(State.QUEUED, reason="never had it"), 1.0, claimable=False)
    assert (queued.state, queued.attempt, queued.evidence, queued.reason) == (State.QUEUED, 2, None, "never had it")
    for told in (
        receipt(State.SUBMITTING, nonce="old"),
        receipt(State.SUBMITTING, nonce=None),
        receipt(State.QUEUED, reason=None),
        receipt(State.QUEUED, reason="r", held="person typing"),
    ):
        with pytest.raises(RelayRefused) as caught:
            deliveries.apply_receipt(seen, told, 1.0, claimable=False)
        assert caught.value.status == 422


@pytest.mark.parametrize("told", [State.SUBMITTING, State.SUBMITTED, State.SEEN])
def test_the_fifth_program_that_dies_before_it_has_it_makes_it_dead(told: State) -> None:
    now_is = deliveries.apply_receipt(delivery(), receipt(State.SUBMITTING, nonce="n0"), 0.0, claimable=False)
    for number in range(1, MAX_ATTEMPTS + 1):
        now_is = deliveries.apply_receipt(now_is, receipt(told, nonce=now_is.nonce), 1.0, claimable=False)
        begun = receipt(State.SUBMITTING, nonce=f"n{number}")
        now_is = deliveries.apply_receipt(now_is, begun, 1.0, claimable=False)
    assert (now_is.state, now_is.failures) == (State.DEAD, MAX_ATTEMPTS)
    assert now_is.reason == "5 attempts failed: the program ended each time before it got the message"
    assert not deliveries.is_held(now_is)


@pytest.mark.parametrize("state", sorted(deliveries.IN_FLIGHT))
def test_only_the_holder_moves_what_is_in_flight(state: State) -> None:
    held = delivery(state)
    for call in (
        lambda: deliveries.renew(held, request("two"), 1.0),
        lambda: deliveries.renew(held, request(agent_id="eve"), 1.0),
        lambda: deliveries.renew(held, request(attempt=2), 1.0),
        lambda: deliveries.release(held, release(instance_id="two"), 1.0, claimable=False),
        lambda: deliveries.release(held, release(agent_id="eve"), 1.0, claimable=False),
        lambda: deliveries.release(held, release(attempt=3), 1.0, claimable=False),
        lambda: deliveries.apply_receipt(held, receipt(State.SEEN, instance_id="two"), 1.0, claimable=False),
        lambda: deliveries.apply_receipt(held, receipt(State.SEEN, agent_id="eve"), 1.0, claimable=False),
    ):
        with pytest.raises(ClaimLost):
            call()
    assert not deliveries.claim(held, request("two"), 1.0).granted
    assert not deliveries.claim(held, request(agent_id="eve"), 1.0).granted


def test_a_lease_that_runs_out() -> None:
    claimed = deliveries.lapse(delivery(State.CLAIMED), LEASE, expires_at=END, claimable=False)
    assert (claimed.state, claimed.attempt, claimed.recipient) == (State.QUEUED, 2, "agent:bob")
    anybodys = deliveries.lapse(delivery(State.CLAIMED), LEASE, expires_at=END, claimable=True)
    assert anybodys.recipient is None
    for state in (State.SUBMITTING, State.SUBMITTED, State.SEEN):
        lapsed = deliveries.lapse(delivery(state), LEASE, expires_at=END, claimable=False)
        assert (lapsed.state, lapsed.reason, lapsed.attempt) == (State.UNKNOWN, "lease expired", 1)
    held = delivery(State.SEEN)
    assert deliveries.lapse(held, LEASE - 1, expires_at=END, claimable=False) is held


def test_the_end_of_a_message_kills_what_waits_and_nothing_else() -> None:
    assert deliveries.lapse(delivery(), END, expires_at=END, claimable=False).reason == "expired"
    assert deliveries.lapse(delivery(), END, expires_at=END, claimable=False, retired=True).reason == "agent-removed"
    for state in (State.DONE, State.DEAD, State.UNKNOWN):
        ended = delivery(state)
        assert deliveries.lapse(ended, END, expires_at=END, claimable=False) is ended
    seen = delivery(State.SEEN, claim_expires_at=END + 1)
    assert deliveries.lapse(seen, END, expires_at=END, claimable=False) is seen


def test_a_delay_is_over_when_it_is_over() -> None:
    released = deliveries.release(delivery(State.CLAIMED), release(delay_s=30), 0.0, claimable=False)
    assert released.not_before == 30.0
    assert not deliveries.claim(released, request(), 29.0).granted
    due = deliveries.lapse(released, 30.0, expires_at=END, claimable=False)
    assert due.not_before is None and deliveries.claim(due, request(), 30.0).granted


def test_redelivery_starts_over() -> None:
    dead = delivery(State.DEAD, attempt=5, failures=5, nonce="n", evidence="e", reason="r")
    again = deliveries.redeliver(dead, 1.0, claimable=False)
    assert (again.state, again.attempt, again.failures, again.nonce, again.evidence) == (State.QUEUED, 6, 0, None, None)
    for state in set(State) - {State.DEAD, State.UNKNOWN, State.DONE}:
        with pytest.raises(RelayRefused):
            deliveries.redeliver(delivery(state), 1.0, claimable=False)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_end_but_completed_can_be_redelivered(outcome: Outcome) -> None:
    ended = delivery(State.DONE, outcome=outcome, nonce="n", evidence="hook", result="x")
    if outcome is Outcome.COMPLETED:
        with pytest.raises(RelayRefused, match=r"is done \(completed\): only a message that ended without completing"):
            deliveries.redeliver(ended, 1.0, claimable=False)
        return
    again = deliveries.redeliver(ended, 1.0, claimable=False)
    assert (again.state, again.attempt, again.outcome, again.result) == (State.QUEUED, 2, None, None)


def test_late_evidence_of_a_newer_instance_counts() -> None:
    unknown = delivery(State.UNKNOWN, instance_id="one", reason="lease expired")
    seen = deliveries.apply_receipt(unknown, receipt(State.SEEN, instance_id="two"), 1.0, claimable=False)
    assert (seen.state, seen.instance_id, seen.reason, seen.claim_expires_at) == (State.SEEN, "two", None, 1.0 + LEASE)
    with pytest.raises(ClaimLost):
        deliveries.apply_receipt(unknown, receipt(State.SEEN, attempt=2), 1.0, claimable=False)


@pytest.mark.parametrize("lease_s", [0.0, -1.0, float("inf"), float("nan"), 1e9])
def test_an_impossible_lease_is_refused(lease_s: float) -> None:
    with pytest.raises(RelayRefused):
        deliveries.claim(delivery(), request(lease_s=lease_s), 0.0)


def test_a_person_sees_by_reading() -> None:
    letter = delivery(recipient="person:ann")
    read = deliveries.mark_read(letter, 5.0, person=True)
    assert (read.state, read.evidence, read.read_at) == (State.SEEN, "read", 5.0)
    assert deliveries.mark_read(read, 6.0, person=True) is read
    assert deliveries.mark_read(delivery(), 5.0, person=False).state is State.QUEUED


def test_an_instance_takes_over_with_a_fresh_lease() -> None:
    taken = deliveries.inherit(delivery(State.SEEN), "two", 100.0, lease_s=LEASE)
    assert (taken.instance_id, taken.claim_expires_at, taken.state) == ("two", 160.0, State.SEEN)


def test_ones_own_delivery_goes_before_one_that_nobody_took() -> None:
    own, open_ = delivery(), delivery(recipient=None)
    assert deliveries.choose([open_, own], "agent:bob") is own
    assert deliveries.choose([open_, own], "agent:eve") is open_
    assert deliveries.choose([own], "agent:eve") is None


def test_what_ends_at_submitted_is_not_open() -> None:
    assert {state for state in State if deliveries.is_open(delivery(state))} == set(State) - TERMINAL
    assert not deliveries.is_open(delivery(State.SUBMITTED, evidence=UNPROVEN))
    assert deliveries.is_open(delivery(State.SUBMITTED, evidence="hook"))
