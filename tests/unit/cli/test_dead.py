"""What did not arrive: listed, sent again, given up."""

from __future__ import annotations

import asyncio

import pytest

from relay_runner.protocol.messages import State
from tests.unit.cli.conftest import World


def test_dead_letters_are_listed_and_redelivered(world: World) -> None:
    bob = world.agent("bob")
    number = world.send("bob", "lost").message.id
    assert world.run("dead")[1] == "relay-runner: no dead messages\n"

    async def lose() -> None:
        from relay_runner.protocol.messages import Receipt

        for state in (State.SUBMITTING, State.UNKNOWN):
            await bob.receipt(
                number,
                Receipt(agent_id="bob", instance_id="i1", attempt=1, state=state, nonce="n", reason="it died"),
            )

    asyncio.run(lose())
    assert "bob" in world.run("dead")[0] and "unknown" in world.run("dead")[0] and "it died" in world.run("dead")[0]
    assert world.json("dead")[0]["deliveries"][0]["state"] == "unknown"
    assert world.run("redeliver", "1")[0] == "message 1 to bob: queued\n"
    assert world.json("dead") == []


def test_an_agent_may_not_look_at_dead_letters(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_RELAY_PROVIDER_SESSION_ID", "s")
    assert "an agent cannot list dead messages" in world.run("dead", code=2)[1]
    assert "an agent cannot redeliver messages" in world.run("redeliver", "1", code=2)[1]


def test_what_is_queued_or_unknown_can_be_given_up(world: World) -> None:
    world.agent("bob")
    world.send("bob", "never mind")
    assert world.run("drop", "1")[0] == "message 1 to bob: dead\n"
    assert world.run("dead")[1] == "relay-runner: no dead messages\n"
    assert "dropped by person:operator" in world.run("dead", "--all")[0]
    assert "is dead: only what is queued or unknown can be dropped" in world.run("drop", "1", code=1)[1]
    assert world.json("redeliver", "1")["state"] == "queued"
    assert "was not sent to agent:eve" in world.run("drop", "1", "--agent", "eve", code=2)[1]
