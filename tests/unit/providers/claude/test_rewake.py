"""The handover to the poller: granted, or provably not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relay_runner.providers.base import HookCall, HookReply
from relay_runner.providers.claude import rewake as module
from relay_runner.providers.claude.rewake import Given, Rewake

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes late here."""
    monkeypatch.setattr(module, "ARRIVAL_S", 0.05)


def call(name: str = "rewake", **payload: Any) -> HookCall:
    return HookCall(name, payload, asyncio.Event())


async def test_a_message_is_granted_to_the_poller_that_asks() -> None:
    rewake = Rewake()
    async with asyncio.TaskGroup() as group:
        polling = group.create_task(rewake.poll(call()))
        giving = group.create_task(rewake.give("n1", "text"))
        assert await polling == HookReply({"nonce": "n1", "text": "text"})
        assert not giving.done()
        assert rewake.taken(call(nonce="n2")) == HookReply({"granted": False})
        assert rewake.taken(call(nonce="n1")) == HookReply({"granted": True})
        assert await giving is Given.GRANTED
    assert rewake.taken(call(nonce="n1")) == HookReply({"granted": False})


async def test_without_a_poller_there_is_nobody() -> None:
    assert await Rewake().give("n1", "text") is Given.NOBODY


async def test_a_poller_that_comes_late_is_waited_for() -> None:
    rewake = Rewake()
    async with asyncio.TaskGroup() as group:
        giving = group.create_task(rewake.give("n1", "text"))
        await asyncio.sleep(0)
        await rewake.poll(call())
        rewake.taken(call(nonce="n1"))
        assert await giving is Given.GRANTED


async def test_a_poller_that_hung_up_is_nobody() -> None:
    rewake, poll = Rewake(), call()
    async with asyncio.TaskGroup() as group:
        group.create_task(rewake.poll(poll))
        await asyncio.sleep(0)
        assert rewake.connected
        poll.gone.set()
        assert await rewake.give("n1", "text") is Given.NOBODY


async def test_an_offer_without_an_answer_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRANT_S", 0.01)
    rewake = Rewake()
    async with asyncio.TaskGroup() as group:
        group.create_task(rewake.poll(call()))
        assert await rewake.give("n1", "text") is Given.TAKEN_BACK
    assert rewake.taken(call(nonce="n1")) == HookReply({"granted": False})


async def test_an_offer_to_a_poller_that_died_is_taken_back_at_once() -> None:
    rewake = Rewake()
    async with asyncio.TaskGroup() as group, asyncio.timeout(2):
        group.create_task(rewake.poll(call(pid=2**22 + 1)))
        assert await rewake.give("n1", "text") is Given.TAKEN_BACK


async def test_a_second_poller_replaces_the_first() -> None:
    rewake = Rewake()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(rewake.poll(call()))
        await asyncio.sleep(0)
        second = group.create_task(rewake.poll(call()))
        assert await first == HookReply()
        giving = group.create_task(rewake.give("n1", "text"))
        assert (await second).body == {"nonce": "n1", "text": "text"}
        rewake.taken(call(nonce="n1"))
        assert await giving is Given.GRANTED


async def test_closing_lets_the_poller_go() -> None:
    rewake = Rewake()
    async with asyncio.TaskGroup() as group:
        polling = group.create_task(rewake.poll(call()))
        await asyncio.sleep(0)
        rewake.close()
        assert await polling == HookReply()
