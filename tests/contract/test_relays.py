"""What every relay must do, whatever it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from msgspec.structs import replace

from relay_runner.errors import (
    ClaimLost,
    RelayNotFound,
    RelayRefused,
    RelayRunnerError,
    RelayUnauthorized,
    RelayUnavailable,
)
from relay_runner.protocol.agents import (
    OFFLINE_AFTER_S,
    TIMELINE_KEPT,
    AgentState,
    Status,
    TimelineEvent,
    Transport,
    TransportState,
)
from relay_runner.protocol.commands import CommandState, CommandUpdate, NewCommand
from relay_runner.protocol.frames import CommandFrame, Heartbeat, MessageNew, StatusFrame, Superseded
from relay_runner.protocol.messages import (
    MAX_ATTEMPTS,
    MAX_BODY_BYTES,
    MAX_HOPS,
    MESSAGE_TTL_S,
    UNPROVEN,
    MessageQuery,
    MessageRecord,
    NewMessage,
    NewReply,
    Outcome,
    Receipt,
    State,
)
from relay_runner.protocol.tokens import (
    AGENT_PROFILE,
    INTERACTIVE_PROFILE,
    OPERATOR,
    PERSON_PROFILE,
    SEND,
    TokenRequest,
)
from relay_runner.relay.base import Relay
from relay_runner.server.store.agents import BUS_GRACE_S
from tests.contract.relays import WAIT_S, World, gone, hello, seat

pytestmark = pytest.mark.anyio

BACKLOG = (State.QUEUED, State.CLAIMED, State.SUBMITTING, State.SUBMITTED, State.SEEN)


async def fails(with_: type[RelayRunnerError], call: Awaitable[Any], *words: str) -> RelayRunnerError:
    """Await a call that is to fail with one line that has these words."""
    with pytest.raises(with_) as caught:
        await call
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text
    return caught.value


async def post(relay: Relay, to: str, body: str = "hi", **more: Any) -> MessageRecord:
    return await relay.send(NewMessage(to=to, body=body, **more))


async def state_of(world: World, message_id: int) -> State:
    (delivery,) = (await world.operator.message(message_id)).deliveries
    return delivery.state


# --- posting ----------------------------------------------------------------------------------------------------------


async def test_a_message_is_queued_pushed_and_listed(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob", "hello", subject="greeting", payload={"a": 7}, reply_required=True)
        assert sent.message.sender == "person:op" and sent.message.to == "agent:bob"
        assert [(d.recipient, d.state, d.attempt) for d in sent.deliveries] == [("agent:bob", State.QUEUED, 1)]
        frame = await bob.next(MessageNew)
        assert frame.message == sent.message and frame.delivery == sent.deliveries[0]
        query = MessageQuery(recipient="agent:bob", states=BACKLOG, oldest_first=True)
        assert await bob.relay.messages(query) == [sent]
        assert await bob.relay.message(sent.message.id) == sent


async def test_an_agent_that_is_offline_finds_its_messages_later(world: World) -> None:
    async with seat(world, "bob"):
        pass
    ids = [(await post(world.operator, "bob", f"no {number}")).message.id for number in range(3)]
    async with seat(world, "bob", "two") as bob:
        query = MessageQuery(recipient="agent:bob", states=BACKLOG, oldest_first=True)
        assert [record.message.id for record in await bob.relay.messages(query)] == ids
        newest = await bob.relay.messages(MessageQuery(recipient="agent:bob", limit=2))
        assert [record.message.id for record in newest] == ids[:0:-1]
        later = await bob.relay.messages(MessageQuery(recipient="agent:bob", after=ids[0], oldest_first=True))
        assert [record.message.id for record in later] == ids[1:]


async def test_an_unknown_agent_is_refused_with_the_nearest_name(world: World) -> None:
    async with seat(world, "reviewer"):
        await fails(RelayNotFound, post(world.operator, "reviewr"), "reviewr", "did you mean reviewer?")
        await fails(RelayNotFound, post(world.operator, "reviewr", claimable=True))
        await fails(RelayNotFound, world.operator.agent("reviewr"), "did you mean reviewer?")
        await fails(RelayNotFound, post(world.operator, "label:none"), "label:none")
        await fails(RelayRefused, post(world.operator, "team:x"), "team:x")
        await fails(RelayRefused, post(world.operator, "BOB!"), "BOB!")


async def test_a_fan_out_reaches_each_agent_meant_but_not_the_sender(world: World) -> None:
    async with (
        seat(world, "ann", tags=("python",), label="Front desk", capabilities=("review",)) as ann,
        seat(world, "bob", tags=("python",)),
        seat(world, "eve", tags=("python",), label="Front desk", broad=False),
    ):
        expected = {
            "tag:python": ["agent:ann", "agent:bob"],
            "cap:review": ["agent:ann"],
            "label:Front desk": ["agent:ann", "agent:eve"],
            "broadcast": ["agent:ann", "agent:bob"],
        }
        for address, recipients in expected.items():
            record = await post(world.operator, address)
            assert sorted(str(delivery.recipient) for delivery in record.deliveries) == recipients
        record = await post(ann.relay, "tag:python")
        assert [delivery.recipient for delivery in record.deliveries] == ["agent:bob"]
        await fails(RelayNotFound, post(ann.relay, "cap:review"), "cap:review")
        await fails(RelayRefused, post(ann.relay, "ann"), "oneself")


async def test_a_person_has_an_inbox(world: World) -> None:
    async with await world.person("alice") as alice, seat(world, "bob") as bob:
        sent = await post(bob.relay, "person:alice", "done")
        assert [record.message.id for record in await alice.messages(MessageQuery(unread=True))] == [sent.message.id]
        await alice.read(sent.message.id)
        await alice.read(sent.message.id)
        assert await alice.messages(MessageQuery(unread=True)) == []
        (delivery,) = (await bob.relay.message(sent.message.id)).deliveries
        assert delivery.state is State.SEEN and delivery.read_at is not None
        await world.turn(MESSAGE_TTL_S + 1)
        assert await state_of(world, sent.message.id) is State.SEEN


@pytest.mark.parametrize("body", ["", "   \n\t"])
async def test_an_empty_body_is_refused(world: World, body: str) -> None:
    async with seat(world, "bob"):
        error = await fails(RelayRefused, post(world.operator, "bob", body), "the body is empty")
        assert isinstance(error, RelayRefused) and error.status == 422


async def test_a_body_may_have_one_mebibyte_and_any_character(world: World) -> None:
    async with seat(world, "bob") as bob:
        for body in ("x" * MAX_BODY_BYTES, "\x00" * MAX_BODY_BYTES + "", "a\x00\x1b[31m\r\n\u202e\U0001f600"):
            if not body.strip("\x00"):
                body = body[:-1] + "x"
            sent = await post(world.operator, "bob", body)
            assert (await bob.relay.message(sent.message.id)).message.body == body
            assert (await bob.next(MessageNew)).message.body == body
        for body in ("x" * (MAX_BODY_BYTES + 1), "é" * (MAX_BODY_BYTES // 2 + 1), "x" * (9 * MAX_BODY_BYTES)):
            error = await fails(RelayRefused, post(world.operator, "bob", body))
            assert isinstance(error, RelayRefused) and error.status == 413


async def test_other_bad_messages_are_refused(world: World) -> None:
    async with seat(world, "bob"):
        await fails(RelayRefused, post(world.operator, "bob", ttl_s=0), "ttlS")
        await fails(RelayRefused, post(world.operator, "bob", ttl_s=-5), "ttlS")
        await fails(RelayRefused, post(world.operator, "bob", subject="s" * 2000), "subject")
        await fails(RelayRefused, post(world.operator, "person:alice", claimable=True), "claim")
        await fails(RelayNotFound, post(world.operator, "bob", reply_to=999), "999")


async def test_a_key_makes_one_message_for_a_day(world: World) -> None:
    async with seat(world, "bob"), await world.person("alice") as alice:
        first = await post(world.operator, "bob", idempotency_key="k")
        again = await post(world.operator, "bob", idempotency_key="k")
        other = await post(alice, "bob", idempotency_key="k")
        assert first.message == again.message and other.message.id != first.message.id
        await world.turn(24 * 3600 + 1)
        later = await post(world.operator, "bob", idempotency_key="k")
        assert later.message.id not in (first.message.id, other.message.id)


async def test_only_an_operators_words_are_marked_as_such(world: World) -> None:
    async with seat(world, "bob"), await world.person("alice") as alice:
        assert (await post(world.operator, "bob")).message.operator
        assert not (await post(alice, "bob")).message.operator


async def test_replies_go_to_the_sender_and_reactions_stay_with_the_message(world: World) -> None:
    async with seat(world, "bob") as bob, await world.person("alice") as alice:
        sent = await post(alice, "bob", "question?")
        answer = await bob.relay.reply(sent.message.id, NewReply(body="answer!", idempotency_key="r"))
        again = await bob.relay.reply(sent.message.id, NewReply(body="answer!", idempotency_key="r"))
        assert answer.message == again.message
        assert answer.message.to == "person:alice" and answer.message.reply_to == sent.message.id
        for _ in range(2):
            await bob.relay.react(sent.message.id, "👍")
        record = await alice.message(sent.message.id)
        assert record.replies == (answer.message.id,)
        assert [(reaction.sender, reaction.emoji) for reaction in record.reactions] == [("agent:bob", "👍")]
        replies = await alice.messages(MessageQuery(reply_to=sent.message.id))
        assert [entry.message.body for entry in replies] == ["answer!"]
        await fails(RelayRefused, alice.reply(sent.message.id, NewReply(body="me")), "your own")
        await fails(RelayRefused, bob.relay.reply(sent.message.id, NewReply(body=" ")), "empty")
        await fails(RelayRefused, bob.relay.react(sent.message.id, ""), "reaction")


async def test_a_conversation_without_an_end_is_stopped(world: World) -> None:
    async with seat(world, "bob") as bob, seat(world, "ann") as ann:
        record = await post(ann.relay, "bob")
        sides = [bob.relay, ann.relay]
        for hop in range(1, MAX_HOPS + 1):
            record = await sides[(hop - 1) % 2].reply(record.message.id, NewReply(body="and?"))
            assert record.message.hops == hop
        await fails(RelayRefused, bob.relay.reply(record.message.id, NewReply(body="and?")), "20 times")


async def test_a_message_is_read_by_those_it_concerns_only(world: World) -> None:
    async with (
        seat(world, "ann") as ann,
        seat(world, "bob") as bob,
        seat(world, "eve") as eve,
        await world.person("alice") as alice,
    ):
        sent = await post(alice, "bob")
        await fails(RelayNotFound, eve.relay.message(sent.message.id), str(sent.message.id))
        await fails(RelayNotFound, eve.relay.reply(sent.message.id, NewReply(body="me too")))
        await fails(RelayNotFound, eve.relay.react(sent.message.id, "x"))
        await fails(RelayNotFound, eve.relay.read(sent.message.id))
        await fails(RelayUnauthorized, eve.relay.messages(MessageQuery(recipient="agent:bob")))
        assert await eve.relay.messages(MessageQuery(sender="person:alice")) == []
        assert [r.message.id for r in await alice.messages(MessageQuery(sender="person:alice"))] == [sent.message.id]
        everybody = await post(alice, "broadcast")
        assert len((await alice.message(everybody.message.id)).deliveries) == 3
        for one in (ann, bob, eve):
            (own,) = (await one.relay.message(everybody.message.id)).deliveries
            assert own.recipient == f"agent:{one.agent_id}"
        await fails(RelayNotFound, alice.message(12345), "12345")


# --- claims and receipts ----------------------------------------------------------------------------------------------


async def test_a_delivery_goes_its_whole_way(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob")
        for state in (State.SUBMITTING, State.SUBMITTED, State.SEEN, State.DONE):
            report = bob.receipt(state, nonce="n1", result="42" if state is State.DONE else None)
            delivery = await bob.relay.receipt(sent.message.id, report)
            assert delivery.state is state and delivery.instance_id == "one"
            again = await bob.relay.receipt(sent.message.id, report)
            assert (again.state, again.attempt, again.nonce) == (state, 1, "n1")
        (delivery,) = (await world.operator.message(sent.message.id)).deliveries
        assert (delivery.outcome, delivery.result, delivery.evidence) == (Outcome.COMPLETED, "42", "hook")
        late = bob.receipt(State.DONE, outcome=Outcome.FAILED, result="no")
        assert (await bob.relay.receipt(sent.message.id, late)).outcome is Outcome.COMPLETED
        await fails(RelayRefused, bob.relay.receipt(sent.message.id, bob.receipt(State.SEEN)), "done")


async def test_a_report_needs_its_proof_its_attempt_and_its_holder(world: World) -> None:
    async with seat(world, "bob") as bob, seat(world, "eve") as eve:
        sent = await post(world.operator, "bob")
        message_id = sent.message.id
        await fails(ClaimLost, bob.relay.receipt(message_id, bob.receipt(State.SUBMITTING, attempt=2)), "attempt")
        await bob.relay.receipt(message_id, bob.receipt(State.SUBMITTING))
        await fails(RelayRefused, bob.relay.receipt(message_id, bob.receipt(State.SEEN, evidence=None)), "evidence")
        await fails(RelayRefused, bob.relay.receipt(message_id, bob.receipt(State.DONE, outcome=None)), "outcome")
        await fails(RelayRefused, bob.relay.receipt(message_id, bob.receipt(State.SUBMITTING, lease_s=-1)), "lease")
        await fails(RelayNotFound, eve.relay.receipt(message_id, eve.receipt(State.SEEN)))
        forged = bob.receipt(State.SEEN)
        await fails(RelayUnauthorized, eve.relay.receipt(message_id, forged), "agent:bob")
        await fails(RelayNotFound, bob.relay.receipt(999, bob.receipt(State.SEEN)), "999")
        assert await state_of(world, message_id) is State.SUBMITTING


async def test_a_claim_tells_a_stranger_nothing_of_what_became_of_a_message(world: World) -> None:
    async with (
        seat(world, "bob", tags=("x",)) as bob,
        seat(world, "ann", tags=("x",)) as ann,
        seat(world, "eve") as eve,
    ):
        sent = await post(world.operator, "tag:x", claimable=True)
        await fails(RelayUnauthorized, eve.relay.claim(sent.message.id, eve.request()), "not for agent:eve")
        assert (await bob.relay.claim(sent.message.id, bob.request())).granted
        for state in (State.SUBMITTING, State.SEEN, State.DONE):
            await bob.relay.receipt(sent.message.id, bob.receipt(state, nonce="n", result="secret"))
            await fails(RelayUnauthorized, eve.relay.claim(sent.message.id, eve.request()), "not for agent:eve")
            await fails(RelayUnauthorized, eve.relay.renew(sent.message.id, eve.request()), "not for agent:eve")
            lost = await ann.relay.claim(sent.message.id, ann.request())
            assert (lost.granted, lost.holder, lost.delivery) == (False, "agent:bob", None)


async def test_one_of_twenty_claimers_wins(world: World) -> None:
    async with AsyncExitStack() as stack:
        seats = [await stack.enter_async_context(seat(world, f"w{n}", tags=("worker",))) for n in range(20)]
        sent = await post(world.operator, "tag:worker", claimable=True)
        assert [delivery.recipient for delivery in sent.deliveries] == [None]
        for one in seats:
            assert (await one.next(MessageNew)).message.id == sent.message.id
        results = await asyncio.gather(*[one.relay.claim(sent.message.id, one.request()) for one in seats])
        winners = [one for one, result in zip(seats, results, strict=True) if result.granted]
        assert len(winners) == 1
        losers = [result for result in results if not result.granted]
        assert {(result.holder, result.delivery) for result in losers} == {(f"agent:{winners[0].agent_id}", None)}
        again = await winners[0].relay.claim(sent.message.id, winners[0].request())
        assert again.granted
        loser = next(one for one in seats if one is not winners[0])
        await fails(ClaimLost, loser.relay.receipt(sent.message.id, loser.receipt(State.SUBMITTING)))
        delivery = await winners[0].relay.receipt(sent.message.id, winners[0].receipt(State.SUBMITTING))
        assert delivery.recipient == f"agent:{winners[0].agent_id}"


async def test_a_claimable_message_waits_for_one_who_joins(world: World) -> None:
    sent = await post(world.operator, "cap:paint", claimable=True)
    async with seat(world, "bob") as bob, seat(world, "ann", capabilities=("paint",)) as ann:
        query = MessageQuery(recipient="agent:ann", states=(State.QUEUED,))
        assert [record.message.id for record in await ann.relay.messages(query)] == [sent.message.id]
        assert await bob.relay.messages(MessageQuery(recipient="agent:bob", states=(State.QUEUED,))) == []
        assert (await ann.relay.message(sent.message.id)).message == sent.message
        await fails(RelayUnauthorized, bob.relay.claim(sent.message.id, bob.request()), "agent:bob")
        await fails(ClaimLost, ann.relay.receipt(sent.message.id, ann.receipt(State.SUBMITTING)))
        assert (await ann.relay.claim(sent.message.id, ann.request())).granted
        released = await ann.relay.release(sent.message.id, ann.release())
        assert released.recipient is None and released.attempt == 2 and released.state is State.QUEUED
        again = await ann.next(MessageNew)
        assert again.delivery.attempt in (1, 2)


async def test_a_claim_that_runs_out_is_queued_again(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob")
        await bob.next(MessageNew)
        result = await bob.relay.claim(sent.message.id, bob.request(lease_s=60))
        assert result.claim_expires_at == pytest.approx(world.clock.now + 60)
        await world.turn(59)
        assert await bob.relay.renew(sent.message.id, bob.request(lease_s=60)) == pytest.approx(world.clock.now + 60)
    async with await gone(world, "bob") as relay:
        await world.turn(61)
        (delivery,) = (await world.operator.message(sent.message.id)).deliveries
        assert (delivery.state, delivery.attempt) == (State.QUEUED, 2)
        await fails(ClaimLost, relay.renew(sent.message.id, bob.request()))
        stale = bob.receipt(State.SUBMITTING, attempt=1)
        await fails(ClaimLost, relay.receipt(sent.message.id, stale), "attempt 2")


async def test_a_lease_does_not_run_out_by_the_clock_while_its_runner_is_on_the_bus(world: World) -> None:
    async with seat(world, "bob") as bob:
        ids = [(await post(world.operator, "bob")).message.id for _ in range(2)]
        await bob.relay.claim(ids[0], bob.request(lease_s=60))
        await bob.relay.receipt(ids[1], bob.receipt(State.SUBMITTING, lease_s=60))
        for _ in range(3):
            await world.turn(1300)
            assert [await state_of(world, id) for id in ids] == [State.CLAIMED, State.SUBMITTING]
        world.clock.now += 1300
        assert await bob.relay.renew(ids[0], bob.request(lease_s=60)) == pytest.approx(world.clock.now + 60)
        assert (await bob.relay.receipt(ids[1], bob.receipt(State.SEEN, lease_s=60))).state is State.SEEN
    await gone(world, "bob")
    await world.turn(59)
    assert [await state_of(world, id) for id in ids] == [State.CLAIMED, State.SEEN]
    await world.turn(2)
    assert [await state_of(world, id) for id in ids] == [State.QUEUED, State.UNKNOWN]


async def test_the_relay_says_how_long_a_lease_is(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob")
        result = await bob.relay.claim(sent.message.id, bob.request())
        assert result.claim_expires_at == pytest.approx(world.clock.now + bob.bus.welcome.lease_s)


async def test_what_may_have_entered_a_provider_is_never_queued_by_itself(world: World) -> None:
    async with seat(world, "bob") as bob:
        await bob.relay.agents()
    async with await gone(world, "bob") as relay:
        for states in ((State.SUBMITTING,), (State.SUBMITTING, State.SUBMITTED), (State.SUBMITTING, State.SEEN)):
            sent = await post(world.operator, "bob")
            for state in states:
                await relay.receipt(sent.message.id, bob.receipt(state, lease_s=60))
            world.clock.now += 61
            # Before anybody swept: who asks is told the truth.
            assert await state_of(world, sent.message.id) is State.UNKNOWN
            await world.sweep()
            assert await state_of(world, sent.message.id) is State.UNKNOWN
            await world.turn(3600)
            assert await state_of(world, sent.message.id) is State.UNKNOWN
            late = await relay.receipt(sent.message.id, bob.receipt(State.SEEN))
            assert late.state is State.SEEN
            assert (await relay.receipt(sent.message.id, bob.receipt(State.DONE))).state is State.DONE


async def test_five_failed_attempts_make_a_dead_letter_that_can_be_redelivered(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob")
        message_id = sent.message.id
        for attempt in range(1, MAX_ATTEMPTS + 1):
            assert (await bob.relay.claim(message_id, bob.request(attempt=attempt))).granted
            delivery = await bob.relay.release(message_id, bob.release(attempt, failed=True, reason="no tmux"))
            again = await bob.relay.release(message_id, bob.release(attempt, failed=True, reason="no tmux"))
            assert again == delivery
        assert delivery.state is State.DEAD and "no tmux" in str(delivery.reason)
        dead = await world.operator.messages(MessageQuery(states=(State.DEAD,)))
        assert [record.message.id for record in dead] == [message_id]
        await fails(RelayUnauthorized, bob.relay.redeliver(message_id))
        record = await world.operator.redeliver(message_id, "bob")
        assert record.deliveries[0].state is State.QUEUED and record.deliveries[0].attempt == MAX_ATTEMPTS + 1
        await fails(RelayRefused, world.operator.redeliver(message_id), "queued")
        while (await bob.next(MessageNew)).delivery.attempt != MAX_ATTEMPTS + 1:
            continue


async def test_a_release_that_is_no_failure_does_not_count(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob")
        for attempt in range(1, 2 * MAX_ATTEMPTS):
            await bob.relay.claim(sent.message.id, bob.request())
            assert (await bob.relay.release(sent.message.id, bob.release(attempt))).state is State.QUEUED


async def test_a_release_after_the_message_was_seen_is_refused(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob")
        await bob.relay.receipt(sent.message.id, bob.receipt(State.SUBMITTING))
        await bob.relay.receipt(sent.message.id, bob.receipt(State.SEEN))
        await fails(RelayRefused, bob.relay.release(sent.message.id, bob.release()), "seen")


async def test_what_a_dead_program_told_as_seen_is_taken_back_under_another_nonce(world: World) -> None:
    async with seat(world, "bob") as bob:
        id = (await post(world.operator, "bob")).message.id
        for number in range(1, MAX_ATTEMPTS):
            await bob.relay.receipt(id, bob.receipt(State.SUBMITTING, nonce=f"n{number}"))
            await bob.relay.receipt(id, bob.receipt(State.SEEN, nonce=f"n{number}"))
            with_the_same = bob.receipt(State.SUBMITTING, nonce=f"n{number}")
            await fails(RelayRefused, bob.relay.receipt(id, with_the_same), "a new nonce")
        again = await bob.relay.receipt(id, bob.receipt(State.SUBMITTING, nonce="n5"))
        assert (again.state, again.evidence, again.failures) == (State.SUBMITTING, None, MAX_ATTEMPTS - 1)
        dead = await bob.relay.receipt(id, bob.receipt(State.SUBMITTING, nonce="n6", reason="it died"))
        assert (dead.state, dead.reason) == (State.DEAD, "5 attempts failed: it died")


@pytest.mark.parametrize("outcome", Outcome)
async def test_every_end_but_completed_can_be_redelivered(world: World, outcome: Outcome) -> None:
    async with seat(world, "bob") as bob:
        id = (await post(world.operator, "bob")).message.id
        for state in (State.SUBMITTING, State.SEEN):
            await bob.relay.receipt(id, bob.receipt(state, nonce="n"))
        await bob.relay.receipt(id, bob.receipt(State.DONE, nonce="n", outcome=outcome, carried=(id, 99)))
        assert (await world.operator.message(id)).deliveries[0].carried == (id, 99)
        if outcome is Outcome.COMPLETED:
            await fails(RelayRefused, world.operator.redeliver(id), "completed")
        else:
            (again,) = (await world.operator.redeliver(id)).deliveries
            assert (again.state, again.attempt, again.outcome, again.carried) == (State.QUEUED, 2, None, ())


async def test_a_delayed_release_is_pushed_when_it_is_due(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob")
        await bob.relay.claim(sent.message.id, bob.request())
        released = await bob.relay.release(sent.message.id, bob.release(delay_s=30))
        assert released.not_before == pytest.approx(world.clock.now + 30)
        assert not (await bob.relay.claim(sent.message.id, bob.request())).granted
        await world.turn(31)
        while (await bob.next(MessageNew)).delivery.attempt != 2:
            continue
        assert (await bob.relay.claim(sent.message.id, bob.request())).granted


async def test_what_is_held_says_why(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob")
        await bob.relay.receipt(sent.message.id, bob.receipt(State.QUEUED, held="person typing"))
        (delivery,) = (await world.operator.message(sent.message.id)).deliveries
        assert delivery.state is State.QUEUED and delivery.held == "person typing" and delivery.attempt == 1


async def test_what_waits_for_a_person_keeps_its_attempt(world: World) -> None:
    async with seat(world, "bob", tags=("x",)) as bob:
        for address, claimable in (("bob", False), ("tag:x", True)):
            sent = await post(world.operator, address, claimable=claimable)
            await bob.relay.claim(sent.message.id, bob.request())
            report = bob.receipt(State.QUEUED, held="dialog open")
            for _ in range(2):
                delivery = await bob.relay.receipt(sent.message.id, report)
                assert (delivery.state, delivery.attempt, delivery.held) == (State.QUEUED, 1, "dialog open")
            again = await bob.relay.claim(sent.message.id, bob.request())
            assert again.granted and again.delivery is not None and again.delivery.held is None


async def test_what_can_never_be_proven_ends_at_submitted(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob")
        await bob.relay.receipt(sent.message.id, bob.receipt(State.SUBMITTING))
        report = bob.receipt(State.SUBMITTED, evidence=UNPROVEN)
        assert (await bob.relay.receipt(sent.message.id, report)).claim_expires_at is None
        await fails(ClaimLost, bob.relay.renew(sent.message.id, bob.request()))
        async with seat(world, "bob", "two") as new:
            assert new.bus.welcome.inherited == ()
        await world.turn(24 * 3600)
        assert await state_of(world, sent.message.id) is State.SUBMITTED


async def test_only_what_still_needs_doing_is_open(world: World) -> None:
    async with seat(world, "bob", tags=("x",)) as bob:
        ways: dict[State, tuple[Receipt, ...]] = {
            State.SUBMITTING: (bob.receipt(State.SUBMITTING),),
            State.SUBMITTED: (bob.receipt(State.SUBMITTING), bob.receipt(State.SUBMITTED)),
            State.SEEN: (bob.receipt(State.SUBMITTING), bob.receipt(State.SEEN, evidence="hook")),
        }
        done = bob.receipt(State.DONE, outcome=Outcome.COMPLETED)
        unproven = bob.receipt(State.SUBMITTED, evidence=UNPROVEN)
        queued = (await post(world.operator, "tag:x", claimable=True)).message.id
        still_open = [queued]
        for receipts in (*ways.values(), (*ways[State.SEEN], done), (*ways[State.SUBMITTED], unproven)):
            message_id = (await post(world.operator, "bob")).message.id
            for report in receipts:
                await bob.relay.receipt(message_id, report)
            if receipts[-1] not in (done, unproven):
                still_open.append(message_id)
        claimed = (await post(world.operator, "bob")).message.id
        await bob.relay.claim(claimed, bob.request())
        mine = MessageQuery(recipient="agent:bob", open=True, oldest_first=True)
        assert [record.message.id for record in await bob.relay.messages(mine)] == [*still_open, claimed]
        for query in (MessageQuery(open=True), MessageQuery(sender="person:op", open=True)):
            everything = await world.operator.messages(query)
            assert [record.message.id for record in everything] == [claimed, *reversed(still_open)]
        one = MessageQuery(recipient="agent:bob", open=True, states=(State.SUBMITTED, State.DONE))
        assert [record.message.id for record in await bob.relay.messages(one)] == [still_open[2]]


async def test_a_queue_that_nobody_takes_dies_at_its_end(world: World) -> None:
    async with seat(world, "bob"):
        sent = await post(world.operator, "bob", ttl_s=60)
    await world.turn(61)
    (delivery,) = (await world.operator.message(sent.message.id)).deliveries
    assert (delivery.state, delivery.reason) == (State.DEAD, "expired")
    record = await world.operator.redeliver(sent.message.id)
    assert record.deliveries[0].state is State.QUEUED and record.message.expires_at > world.clock.now


async def test_a_removed_agent_keeps_its_queue_until_the_end(world: World) -> None:
    async with seat(world, "bob") as bob:
        await post(world.operator, "bob", ttl_s=60)
        await bob.relay.remove_agent("bob")
        assert await world.operator.agents() == []
        await fails(RelayNotFound, world.operator.agent("bob"))
        await fails(RelayNotFound, post(world.operator, "broadcast"))
        await fails(RelayNotFound, bob.relay.heartbeat("bob", "one"))
    sent = await post(world.operator, "bob", ttl_s=60)
    await world.turn(61)
    (delivery,) = (await world.operator.message(sent.message.id)).deliveries
    assert (delivery.state, delivery.reason) == (State.DEAD, "agent-removed")
    again = await post(world.operator, "bob")
    async with seat(world, "bob", "two") as bob:
        query = MessageQuery(recipient="agent:bob", states=(State.QUEUED,))
        assert [record.message.id for record in await bob.relay.messages(query)] == [again.message.id]


# --- instances --------------------------------------------------------------------------------------------------------


async def test_a_newer_instance_supersedes_and_inherits(world: World) -> None:
    async with seat(world, "bob", "one") as old:
        queued, claimed, seen = [await post(world.operator, "bob") for _ in range(3)]
        await old.relay.claim(claimed.message.id, old.request())
        await old.relay.receipt(seen.message.id, old.receipt(State.SUBMITTING, nonce="n"))
        await old.relay.receipt(seen.message.id, old.receipt(State.SEEN))
        async with seat(world, "bob", "two") as new:
            assert new.bus.welcome.inherited == (claimed.message.id, seen.message.id)
            assert (await old.next(Superseded)).by == "two"
            assert isinstance(await old.ended(), RelayUnavailable)
            await fails(ClaimLost, old.relay.claim(queued.message.id, old.request()))
            await fails(ClaimLost, old.relay.renew(claimed.message.id, old.request()))
            await fails(ClaimLost, old.relay.release(claimed.message.id, old.release()))
            await fails(ClaimLost, old.relay.receipt(seen.message.id, old.receipt(State.DONE)))
            await fails(ClaimLost, old.relay.heartbeat("bob", "one"))
            await fails(ClaimLost, old.relay.put_status("bob", "one", Status()))
            done = await new.relay.receipt(seen.message.id, new.receipt(State.DONE))
            assert done.state is State.DONE and done.nonce == "n"
            assert (await new.relay.receipt(claimed.message.id, new.receipt(State.SUBMITTING))).instance_id == "two"
            with pytest.raises(ClaimLost):
                async with old.relay.connect(hello("bob", "one")):
                    raise AssertionError("a superseded instance must not come back")
            assert (await world.operator.agent("bob")).instance_id == "two"


async def test_the_same_instance_may_connect_again(world: World) -> None:
    async with seat(world, "bob") as first:
        sent = await post(world.operator, "bob")
        await first.relay.claim(sent.message.id, first.request())
        async with seat(world, "bob") as second:
            assert isinstance(await first.ended(), RelayUnavailable)
            assert (await second.relay.claim(sent.message.id, second.request())).granted
            assert (await world.operator.agent("bob")).connected
            another = await post(world.operator, "bob")
            assert (await second.next(MessageNew)).message.id == another.message.id


async def test_a_hello_of_another_protocol_is_refused_with_a_line(world: World) -> None:
    relay = await world.agent("bob")
    async with relay:
        with pytest.raises(RelayRefused, match="protocol"):
            async with relay.connect(hello("bob", protocol=99)):
                raise AssertionError("refused")
        with pytest.raises(RelayUnauthorized, match="agent:ann"):
            async with relay.connect(hello("ann")):
                raise AssertionError("refused")


async def test_status_is_what_the_agent_says_while_it_is_heard(world: World) -> None:
    async with seat(world, "bob") as bob:
        agent = await world.operator.agent("bob")
        assert agent.connected and agent.status.agent_status is AgentState.IDLE and agent.status.ready
        assert (agent.provider, agent.runner_id, agent.machine) == ("demo", "runner-bob", "here")
        busy = Status(agent_status=AgentState.BUSY, ready=True, busy_reasons=("provider-turn",), at=world.clock.now)
        await bob.bus.send(StatusFrame(status=busy))
        await until(lambda: seen(world, "bob", AgentState.BUSY))
        await bob.relay.put_status("bob", "one", Status(agent_status=AgentState.ERROR, detail="stuck"))
        assert (await world.operator.agent("bob")).status.detail == "stuck"
        await bob.relay.put_status("bob", "one", busy)
        await world.turn(46)
        assert (await world.operator.agent("bob")).status.agent_status is AgentState.OFFLINE
        await bob.relay.heartbeat("bob", "one")
        assert (await world.operator.agent("bob")).status == busy
        await bob.bus.send(Heartbeat(at=world.clock.now, meta={"context": 12}))
        await until(lambda: has_meta(world, "bob", {"context": 12}))
        await post(world.operator, "bob")
        assert [(agent.id, agent.queued) for agent in await world.operator.agents()] == [("bob", 1)]
    await until(lambda: disconnected(world, "bob"))
    await world.turn(4)
    assert (await world.operator.agent("bob")).status.agent_status is AgentState.OFFLINE


async def seen(world: World, agent_id: str, state: AgentState) -> bool:
    return (await world.operator.agent(agent_id)).status.agent_status is state


async def has_meta(world: World, agent_id: str, meta: dict[str, Any]) -> bool:
    return (await world.operator.agent(agent_id)).meta == meta


async def disconnected(world: World, agent_id: str) -> bool:
    return not (await world.operator.agent(agent_id)).connected


async def until(condition: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await condition():  # noqa: ASYNC110 - what a bus tells has no answer to wait for
            await asyncio.sleep(0.005)


# --- commands ---------------------------------------------------------------------------------------------------------


def _event(number: int) -> TimelineEvent:
    return TimelineEvent(id=f"one-{number}", kind=f"kind-{number}", at=float(number), data={"number": number})


async def test_not_13_a_timeline_is_kept_whole_in_order_and_once(world: World) -> None:
    idle = Status(agent_status=AgentState.IDLE, ready=True)
    async with seat(world, "bob", status=replace(idle, timeline=(_event(0),))) as bob:
        stream = aiter(world.operator.events(after=0))
        # By the bus, and the same again over HTTP, with one more: as a runner does that does not know what arrived.
        await bob.bus.send(StatusFrame(status=replace(idle, timeline=(_event(0), _event(1), _event(2)))))
        await bob.relay.put_status("bob", "one", replace(idle, timeline=(_event(1), _event(2), _event(3))))
        await bob.relay.put_status("bob", "one", idle)
        heard: list[tuple[str, int]] = []
        async with asyncio.timeout(WAIT_S):
            while len(heard) < 4:
                event = await anext(stream)
                if event.type == "timeline":
                    heard.append((event.data["kind"], event.data["number"]))
                    assert event.data["agentId"] == "bob" and event.data["happenedAt"] == event.data["number"]
        await stream.aclose()  # type: ignore[attr-defined]
        assert heard == [(f"kind-{number}", number) for number in range(4)]
        assert (await world.operator.agent("bob")).status.timeline == tuple(_event(n) for n in range(4))
        many = tuple(_event(number) for number in range(4, 4 + TIMELINE_KEPT))
        await bob.relay.put_status("bob", "one", replace(idle, timeline=many))
        assert (await world.operator.agent("bob")).status.timeline == many


async def test_an_agent_whose_bus_is_gone_is_there_while_http_says_so(world: World) -> None:
    async with seat(world, "bob"):
        pass
    async with asyncio.timeout(WAIT_S):
        async for event in world.operator.events(after=0):
            if event.data.get("action") == "left":
                break
    await world.turn(BUS_GRACE_S + 1)
    assert (await world.operator.agent("bob")).status.agent_status is AgentState.OFFLINE
    transport = Transport(state=TransportState.HTTP_ONLY, since=world.clock.now)
    status = Status(agent_status=AgentState.IDLE, ready=True, transport=transport)
    bob = await world.agent("bob")
    async with bob:
        await bob.put_status("bob", "one", status)
        await world.turn(OFFLINE_AFTER_S - 1)
        agent = await world.operator.agent("bob")
        assert agent.status.agent_status is AgentState.IDLE and agent.status.transport == transport
        await world.turn(2)
        agent = await world.operator.agent("bob")
        assert agent.status.agent_status is AgentState.OFFLINE and agent.status.transport is None
        await bob.put_status("bob", "one", status)
        assert (await world.operator.agent("bob")).status.ready


async def test_a_command_reaches_its_agent_once(world: World) -> None:
    async with seat(world, "bob") as bob:
        new = NewCommand(type="agent.restart", target="runner-bob", args={"force": True}, idempotency_key="k")
        command = await world.operator.command(new)
        assert (await world.operator.command(new)).id == command.id
        assert (await bob.next(CommandFrame)).command == command
        assert await bob.relay.pending_commands("bob") == [command]
        running = await bob.relay.update_command(command.id, CommandUpdate(state=CommandState.RUNNING))
        assert running.state is CommandState.RUNNING
        result = CommandUpdate(state=CommandState.SUCCEEDED, result={"action": "restart"})
        done = await bob.relay.update_command(command.id, result)
        assert await bob.relay.update_command(command.id, result) == done
        assert (await world.operator.get_command(command.id)).result == {"action": "restart"}
        assert await bob.relay.pending_commands("bob") == []
        late = CommandUpdate(state=CommandState.FAILED)
        await fails(RelayRefused, bob.relay.update_command(command.id, late), "succeeded")


async def test_commands_need_an_operator_a_target_and_time(world: World) -> None:
    async with seat(world, "bob") as bob, seat(world, "eve") as eve:
        await fails(RelayUnauthorized, bob.relay.command(NewCommand(type="agent.kill", target="bob")), "operator")
        await fails(RelayNotFound, world.operator.command(NewCommand(type="agent.kill", target="bobb")), "bob?")
        await fails(RelayRefused, world.operator.command(NewCommand(type="agent.kill", target="bob", timeout_s=0)))
        await fails(RelayRefused, world.operator.command(NewCommand(type="rm", target="bob")), "rm")
        await fails(RelayNotFound, world.operator.get_command("cmd-none"))
        command = await world.operator.command(NewCommand(type="agent.kill", target="bob", timeout_s=5))
        update = CommandUpdate(state=CommandState.RUNNING)
        await fails(RelayUnauthorized, eve.relay.update_command(command.id, update))
        await world.turn(6)
        failed = await world.operator.get_command(command.id)
        assert failed.state is CommandState.FAILED and "in time" in failed.result["reason"]
        assert await bob.relay.pending_commands("bob") == []


async def test_a_reply_that_is_asked_for_is_owed_from_the_delivery_to_the_reply(world: World) -> None:
    """Promise: obligations."""
    async with seat(world, "bob") as bob, seat(world, "eve") as eve:
        plain, asked, other = [
            (await post(world.operator, "bob", reply_required=wants)).message.id for wants in (False, True, True)
        ]

        async def owed(relay: Relay) -> list[int]:
            return [record.message.id for record in await relay.obligations("bob")]

        assert await owed(bob.relay) == []
        for one in (plain, asked, other):
            await bob.relay.receipt(one, bob.receipt(State.SUBMITTING))
            await bob.relay.receipt(one, bob.receipt(State.SEEN))
        assert await owed(bob.relay) == await owed(world.operator) == [asked, other]
        assert (await world.operator.agent("bob")).obligations == 2
        await bob.relay.receipt(asked, bob.receipt(State.DONE))
        await world.operator.send(NewMessage(to="bob", body="?", reply_to=asked))  # not bob's own word
        assert await owed(bob.relay) == [asked, other]
        await bob.relay.reply(asked, NewReply(body="yes"))
        assert await owed(bob.relay) == [other]
        assert {agent.id: agent.obligations for agent in await world.operator.agents()} == {"bob": 1, "eve": 0}
        await fails(RelayUnauthorized, eve.relay.obligations("bob"))
        await fails(RelayNotFound, world.operator.obligations("nobody"))


async def test_what_nobody_works_on_can_be_given_up(world: World) -> None:
    async with seat(world, "bob") as bob:
        queued, unknown, seen = [(await post(world.operator, "bob")).message.id for _ in range(3)]
        for one in (unknown, seen):
            await bob.relay.receipt(one, bob.receipt(State.SUBMITTING))
        await bob.relay.receipt(unknown, bob.receipt(State.UNKNOWN))
        await bob.relay.receipt(seen, bob.receipt(State.SEEN))
        for one in (queued, unknown):
            (dropped,) = (await world.operator.drop(one)).deliveries
            assert (dropped.state, dropped.reason) == (State.DEAD, "dropped by person:op")
        await fails(RelayRefused, world.operator.drop(seen), "is seen")
        await fails(RelayRefused, world.operator.drop(queued), "is dead")
        await fails(RelayUnauthorized, bob.relay.drop(queued), "operator")
        await fails(RelayNotFound, world.operator.drop(99))
        await fails(RelayNotFound, world.operator.drop(queued, "eve"), "eve")
        await fails(RelayRefused, bob.relay.receipt(queued, bob.receipt(State.SUBMITTING)), "dead")
        await fails(RelayRefused, bob.relay.receipt(unknown, bob.receipt(State.DONE)), "dead")
        await world.operator.redeliver(unknown)
        assert await state_of(world, unknown) is State.QUEUED


async def test_tokens_are_made_renewed_and_revoked(world: World) -> None:
    request = TokenRequest(subject="agent:bob", scopes=("agent:bob", SEND), ttl_s=3600)
    grant = await world.operator.issue_token(request)
    assert grant.subject == "agent:bob" and grant.expires_at == pytest.approx(world.clock.now + 3600)
    async with await world.person("nobody") as bob:
        bob.use_token(grant.token)
        await bob.messages(MessageQuery())
        await world.turn(3600 + 300)
        await fails(RelayUnauthorized, bob.messages(MessageQuery()), "expired")
        successor = await bob.renew_token()
        assert successor.jti != grant.jti and set(successor.scopes) == set(grant.scopes)
        bob.use_token(successor.token)
        await bob.messages(MessageQuery())
        await world.operator.revoke_token(successor.jti)
        await fails(RelayUnauthorized, bob.messages(MessageQuery()), "revoked")
        await fails(RelayUnauthorized, bob.renew_token())
        bob.use_token(grant.token)
        await world.turn(3600)
        await fails(RelayUnauthorized, bob.renew_token(), "expired")
        bob.use_token("nonsense")
        await fails(RelayUnauthorized, bob.messages(MessageQuery()), "token")
    await fails(RelayNotFound, world.operator.revoke_token("none"), "none")


async def test_a_bus_ends_with_the_token_that_it_was_opened_with(world: World) -> None:
    async with seat(world, "bob") as bob, seat(world, "eve") as eve:
        own = await bob.relay.who_am_i()
        await world.operator.revoke_token(own.jti)
        error = await bob.ended()
        assert isinstance(error, RelayUnauthorized) and error.status == 401 and "revoked" in str(error)
        await post(world.operator, "eve")
        assert (await eve.next(MessageNew)).message.to == "agent:eve"


async def test_nobody_gives_away_more_than_they_have(world: World) -> None:
    async with await world.be("person:op2", (SEND, OPERATOR)) as operator, await world.agent("bob") as bob:
        await operator.issue_token(TokenRequest(subject="agent:ann", scopes=("agent:ann", SEND)))
        for subject, scopes in (
            ("agent:ann", ("agent:ann", OPERATOR)),
            ("agent:ann", ("agent:bob",)),
            ("person:op2", ("admin",)),
            ("person:other", (SEND,)),
        ):
            await fails(RelayUnauthorized, operator.issue_token(TokenRequest(subject=subject, scopes=scopes)))
        await fails(RelayUnauthorized, bob.issue_token(TokenRequest(subject="agent:bob", scopes=("agent:bob",))))
        await fails(RelayUnauthorized, bob.revoke_token("x"))
        await fails(RelayUnauthorized, bob.list_tokens())


async def test_a_token_says_whose_it_is(world: World) -> None:
    request = TokenRequest(subject="agent:bob", scopes=("agent:bob", SEND), ttl_s=3600)
    grant = await world.operator.issue_token(request)
    async with await world.person("nobody") as bob:
        bob.use_token(grant.token)
        told = await bob.who_am_i()
        assert (told.jti, told.subject, told.profile_id) == (grant.jti, "agent:bob", AGENT_PROFILE)
        assert set(told.scopes) == {"agent:bob", SEND} and told.expires_at == pytest.approx(grant.expires_at)
        bob.use_token("nonsense")
        await fails(RelayUnauthorized, bob.who_am_i())
    assert OPERATOR in (await world.operator.who_am_i()).scopes


async def test_the_list_of_tokens_tells_everything_but_the_tokens(world: World) -> None:
    request = TokenRequest(subject="agent:bob", scopes=("agent:bob", SEND), ttl_s=3600)
    grant = await world.operator.issue_token(request)
    await world.turn(1)
    async with await world.person("nobody") as bob:
        bob.use_token(grant.token)
        heir = await bob.renew_token()
    await world.turn(1)
    await world.operator.revoke_token(grant.jti)
    listed = {info.jti: info for info in await world.operator.list_tokens()}
    assert list(listed).index(heir.jti) < list(listed).index(grant.jti)
    assert listed[grant.jti].successors == (heir.jti,)
    for jti in (grant.jti, heir.jti):
        assert listed[jti].revoked_at == pytest.approx(world.clock.now)
        assert listed[jti].subject == "agent:bob" and set(listed[jti].scopes) == {"agent:bob", SEND}
    assert grant.token not in repr(listed) and heir.token not in repr(listed)


async def test_only_a_runners_token_renews(world: World) -> None:
    for profile, renews in ((AGENT_PROFILE, True), (INTERACTIVE_PROFILE, True), (PERSON_PROFILE, False)):
        request = TokenRequest(subject="agent:bob", scopes=("agent:bob",), profile_id=profile)
        grant = await world.operator.issue_token(request)
        async with await world.person("nobody") as bob:
            bob.use_token(grant.token)
            if renews:
                assert (await bob.renew_token()).profile_id == profile
            else:
                error = await fails(RelayUnauthorized, bob.renew_token(), "not renewed")
                assert error.code == "not-renewable"


async def test_a_runner_that_renews_takes_nothing_from_another_with_the_same_token(world: World) -> None:
    shared = await world.operator.issue_token(TokenRequest(subject="agent:bob", scopes=("agent:bob", SEND)))
    async with await world.person("nobody") as old, await world.person("nobody") as new:
        old.use_token(shared.token)
        new.use_token(shared.token)
        first, second = await old.renew_token(), await new.renew_token()
        for relay, token in ((old, first), (new, second), (old, shared), (new, first)):
            relay.use_token(token.token)
            assert (await relay.who_am_i()).subject == "agent:bob"


async def test_a_token_that_is_refused_is_replaced_once_for_all_calls_at_that_time(world: World) -> None:
    request = TokenRequest(subject="agent:bob", scopes=("agent:bob", SEND))
    grants = [await world.operator.issue_token(request)]
    wanted = 2
    async with seat(world, "bob"), await world.person("nobody") as bob:
        sent = await post(world.operator, "bob")
        bob.use_token(grants[0].token)
        healing = asyncio.Lock()

        async def heal() -> None:
            async with healing:
                if len(grants) < wanted:
                    grants.append(await world.operator.issue_token(request))
                    bob.use_token(grants[-1].token)

        bob.heal_with(heal)
        await world.operator.revoke_token(grants[0].jti)
        answers = await asyncio.gather(*(bob.message(sent.message.id) for _ in range(20)))
        assert {answer.message.id for answer in answers} == {sent.message.id} and len(grants) == 2
        wanted = 3
        await world.operator.revoke_token(grants[1].jti)
        watch = aiter(bob.watch(sent.message.id))
        async with asyncio.timeout(WAIT_S):
            assert (await anext(watch)).message.id == sent.message.id and len(grants) == 3
        await watch.aclose()  # type: ignore[attr-defined]
        await world.operator.revoke_token(grants[2].jti)
        await fails(RelayUnauthorized, bob.messages(MessageQuery()), "revoked")
        for call in (bob.renew_token(), bob.who_am_i()):
            await fails(RelayUnauthorized, call)


# --- following --------------------------------------------------------------------------------------------------------


async def test_watching_a_message_sees_every_change_at_once(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await post(world.operator, "bob")
        watch = aiter(world.operator.watch(sent.message.id))
        async with asyncio.timeout(WAIT_S):
            assert (await anext(watch)).deliveries[0].state is State.QUEUED
            for state in (State.SUBMITTING, State.SEEN, State.DONE):
                await bob.relay.receipt(sent.message.id, bob.receipt(state))
                assert (await anext(watch)).deliveries[0].state is state
            reply = await bob.relay.reply(sent.message.id, NewReply(body="done"))
            assert (await anext(watch)).replies == (reply.message.id,)
            await bob.relay.react(sent.message.id, "🎉")
            assert (await anext(watch)).reactions[0].emoji == "🎉"
        await watch.aclose()  # type: ignore[attr-defined]
        with pytest.raises(RelayNotFound):
            await anext(aiter(world.operator.watch(999)))


async def test_events_come_in_order_and_from_any_point(world: World) -> None:
    async with seat(world, "bob") as bob:
        stream = aiter(world.operator.events(after=0))
        async with asyncio.timeout(WAIT_S):
            first = await anext(stream)
            assert (first.type, first.data["id"]) == ("agent", "bob")
            sent = await post(world.operator, "bob")
            await bob.relay.receipt(sent.message.id, bob.receipt(State.SUBMITTING))
            found = [first]
            while len(found) < 4:
                found.append(await anext(stream))
        await stream.aclose()  # type: ignore[attr-defined]
        assert [event.seq for event in found] == sorted(event.seq for event in found)
        kinds = [(event.type, event.data.get("state")) for event in found[1:]]
        assert kinds == [("message", None), ("delivery", "queued"), ("delivery", "submitting")]
        assert "body" not in str(found)
        stream = aiter(world.operator.events(after=found[-2].seq))
        async with asyncio.timeout(WAIT_S):
            assert await anext(stream) == found[-1]
        await stream.aclose()  # type: ignore[attr-defined]


async def test_health_says_that_all_is_well(world: World) -> None:
    health = await world.operator.health()
    assert health["status"] == "ok" and health["protocol"] == 1
