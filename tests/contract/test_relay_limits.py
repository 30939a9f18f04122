"""What every relay keeps of limits, of what turns cost, and of keys that came before."""

from __future__ import annotations

import pytest

from relay_runner.protocol.acceptance import IDEMPOTENCY_S
from relay_runner.protocol.commands import NewCommand
from relay_runner.protocol.messages import LEASE_S, NewMessage, NewReply, Outcome, State
from relay_runner.protocol.usage import Usage
from tests.contract.relays import World, gone, seat

pytestmark = pytest.mark.anyio

UNTIL = "rate-limited until 2026-11-21 00:02:00 UTC"
USAGE = Usage(input_tokens=1000, cached_tokens=500, output_tokens=10, cost_usd=0.25)


async def test_a_seen_delivery_can_be_held_and_goes_on_under_another_nonce(world: World) -> None:
    async with seat(world, "bob") as bob:
        id = (await world.operator.send(NewMessage(to="bob", body="hi"))).message.id
        for state in (State.SUBMITTING, State.SEEN):
            await bob.relay.receipt(id, bob.receipt(state, nonce="n1"))
        held = await bob.relay.receipt(id, bob.receipt(State.SEEN, nonce="n1", held=UNTIL, usage=USAGE))
        assert (held.state, held.held, held.usage, held.nonce) == (State.SEEN, UNTIL, USAGE, "n1")
        await world.turn(LEASE_S / 2)
        await bob.relay.receipt(id, bob.receipt(State.SEEN, nonce="n2"))
        (delivery,) = (await world.operator.message(id)).deliveries
        assert (delivery.held, delivery.nonce, delivery.usage) == (None, "n2", USAGE)
        more = Usage(input_tokens=2000)
        await bob.relay.receipt(id, bob.receipt(State.DONE, nonce="n2", usage=more, result="there"))
        (delivery,) = (await world.operator.message(id)).deliveries
        assert (delivery.outcome, delivery.result, delivery.usage) == (Outcome.COMPLETED, "there", more)


async def test_one_whose_lease_ran_out_while_it_was_held_is_still_settled(world: World) -> None:
    async with seat(world, "bob") as bob:
        id = (await world.operator.send(NewMessage(to="bob", body="hi"))).message.id
        for state in (State.SUBMITTING, State.SEEN):
            await bob.relay.receipt(id, bob.receipt(state, nonce="n1", held=UNTIL if state is State.SEEN else None))
    async with await gone(world, "bob") as relay:
        await world.turn(LEASE_S + 1)
        assert (await world.operator.message(id)).deliveries[0].state is State.UNKNOWN
        again = await relay.receipt(id, bob.receipt(State.SEEN, nonce="n2"))
        assert (again.state, again.nonce) == (State.SEEN, "n2")
        assert (await relay.receipt(id, bob.receipt(State.DONE))).state is State.DONE


async def test_what_waits_says_until_when_and_then_no_more(world: World) -> None:
    async with seat(world, "bob") as bob:
        id = (await world.operator.send(NewMessage(to="bob", body="hi"))).message.id
        for held in (UNTIL, UNTIL, None, None):
            delivery = await bob.relay.receipt(id, bob.receipt(State.QUEUED, held=held))
            assert (delivery.state, delivery.attempt, delivery.held) == (State.QUEUED, 1, held)


async def test_a_message_over_budget_is_dead_with_the_reason_and_can_be_redelivered(world: World) -> None:
    async with seat(world, "bob") as bob:
        id = (await world.operator.send(NewMessage(to="bob", body="hi"))).message.id
        delivery = await bob.relay.receipt(id, bob.receipt(State.DEAD, reason="over budget: 3 turns"))
        assert (delivery.state, delivery.reason) == (State.DEAD, "over budget: 3 turns")
        again = await world.operator.redeliver(id)
        assert (again.deliveries[0].state, again.deliveries[0].usage) == (State.QUEUED, None)


async def test_keys_of_messages_replies_and_commands_are_remembered_for_a_day_and_no_longer(world: World) -> None:
    async with seat(world, "bob") as bob:
        new = NewMessage(to="bob", body="hi", idempotency_key="k")
        reply = NewReply(body="yes", idempotency_key="k")
        command = NewCommand(type="agent.interrupt", target="bob", idempotency_key="k")
        first = (await world.operator.send(new)).message.id
        answer = (await bob.relay.reply(first, reply)).message.id
        ordered = (await world.operator.command(command)).id
        for wait_s, same in ((0.0, True), (IDEMPOTENCY_S - 2, True), (3.0, False)):
            await world.turn(wait_s)
            assert ((await world.operator.send(new)).message.id == first) is same
            assert ((await bob.relay.reply(first, reply)).message.id == answer) is same
            assert ((await world.operator.command(command)).id == ordered) is same
