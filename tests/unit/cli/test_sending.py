"""Waiting for what becomes of a message, also over a relay that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from relay_runner.cli import sending
from relay_runner.errors import ConfigError, RelayRefused, RelayUnavailable
from relay_runner.protocol.agents import Agent, Status
from relay_runner.protocol.messages import MessageRecord, NewMessage, Outcome, State, Timing
from relay_runner.relay.memory.hub import Hub
from relay_runner.relay.memory.relay import MemoryRelay
from tests.unit.cli.conftest import carry, hello

pytestmark = pytest.mark.anyio


class Flaky(MemoryRelay):
    """A relay whose first watchers lose it."""

    losses = 2

    async def watch(self, message_id: int) -> AsyncIterator[MessageRecord]:
        """Yield one record, then lose the connection, twice."""
        if self.losses:
            self.losses -= 1
            yield await self.message(message_id)
            raise RelayUnavailable("lost")
        async for record in super().watch(message_id):
            yield record


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.join(hello("bob"), asyncio.Queue())
    return hub


async def test_a_lost_relay_is_watched_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RETRY_S", 0.0)
    relay = Flaky(hub)
    record = await relay.send(NewMessage(to="bob", body="x"))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(sending.wait(relay, record, 30.0))
        group.create_task(carry(MemoryRelay.of_agent("bob", hub), "bob", 1, Outcome.COMPLETED, "yes"))
    found, replies = waiting.result()
    assert found.deliveries[0].state is State.DONE and found.deliveries[0].result == "yes"
    assert replies == []


async def test_out_of_time_returns_the_newest_record(hub: Hub) -> None:
    relay = MemoryRelay(hub)
    record = await relay.send(NewMessage(to="bob", body="x"))
    found, _ = await sending.wait(relay, record, 0.01)
    assert found.deliveries[0].state is State.QUEUED


async def test_every_recipient_is_waited_for(hub: Hub) -> None:
    hub.join(hello("eve"), asyncio.Queue())
    relay = MemoryRelay(hub)
    record = await relay.send(NewMessage(to="broadcast", body="x"))
    await carry(MemoryRelay.of_agent("bob", hub), "bob", 1, Outcome.COMPLETED, "bob's")
    found, _ = await sending.wait(relay, record, 0.01)
    assert {one.state for one in found.deliveries} == {State.DONE, State.QUEUED}
    await carry(MemoryRelay.of_agent("eve", hub), "eve", 1, Outcome.COMPLETED, "eve's")
    found, _ = await sending.wait(relay, record, 30.0)
    assert {one.result for one in found.deliveries} == {"bob's", "eve's"}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("waiting: permission prompt", "at a permission prompt"),
        ("waiting: dialog open", "at a dialog"),
        ("waiting", "at a dialog"),
        ("waiting: worker request", "(worker request)"),
        ("busy", None),
        (None, None),
    ],
)
def test_what_an_agent_waits_for(state: str | None, said: str | None) -> None:
    assert sending.waiting_for(Agent(id="bob", status=Status(provider_state=state))) == said


def test_an_agent_that_asks_says_what() -> None:
    status = Status(provider_state="waiting: permission prompt", busy_reasons=("asks for permission 3f9a: mkdir x",))
    assert sending.waiting_for(Agent(id="bob", status=status)) == "for an answer (3f9a: mkdir x)"


def test_an_agent_that_waits_for_its_model_says_until_when() -> None:
    agent = Agent(id="bob", status=Status(provider_state="idle", detail="rate-limited until 3pm"))
    assert sending.waiting_for(agent) == "(rate-limited until 3pm)"


async def test_who_waits_for_a_person_is_told_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "LOOK_S", 0.0)
    relay, bob = MemoryRelay(hub), MemoryRelay.of_agent("bob", hub)
    record = await relay.send(NewMessage(to="bob", body="x"))
    await bob.put_status("bob", "i1", Status(provider_state="waiting: permission prompt"))
    told: list[tuple[str, str]] = []
    heard = asyncio.Event()

    def tell(agent: str, what: str) -> None:
        told.append((agent, what))
        heard.set()

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(sending.wait(relay, record, 30.0, on_waiting=tell))
        await heard.wait()
        await carry(bob, "bob", 1, Outcome.COMPLETED, "yes")
    assert waiting.result()[0].deliveries[0].result == "yes"
    assert told == [("bob", "at a permission prompt")]


async def test_a_refusal_while_waiting_is_raised_as_it_is(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = MemoryRelay(hub)
    record = await relay.send(NewMessage(to="bob", body="x"))

    async def refuse(message_id: int) -> AsyncIterator[MessageRecord]:
        raise RelayRefused("no")
        yield

    monkeypatch.setattr(relay, "watch", refuse)
    with pytest.raises(RelayRefused, match="no"):
        await sending.wait(relay, record, 30.0, on_waiting=lambda agent, what: None)


def test_flags_become_a_message_with_a_key_of_its_own() -> None:
    flags = {"timing": "steer", "subject": "s", "reply_required": True, "claimable": False}
    one, two = (sending.message(" bob ", "x", **flags) for _ in range(2))  # type: ignore[arg-type]
    assert (one.to, one.timing, one.subject, one.reply_required) == ("agent:bob", Timing.STEER, "s", True)
    assert one.idempotency_key != two.idempotency_key


@pytest.mark.parametrize(
    ("to", "timing", "said"), [("B!", "queue", "not an agent id"), ("bob", "now", "unknown timing")]
)
def test_what_cannot_be_a_message_is_a_person_s_mistake(to: str, timing: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sending.message(to, "x", timing=timing, subject=None, reply_required=False, claimable=False)
