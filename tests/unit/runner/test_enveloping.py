"""Envelopes, and what a large one leaves of the event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from relay_runner.protocol.envelope import nonces, render
from relay_runner.protocol.messages import Message
from relay_runner.runner.enveloping import AT_ONCE_CHARS, rendered

pytestmark = pytest.mark.anyio


def message(body: str) -> Message:
    return Message(id=1, sender="agent:bob", to="agent:a", body=body, created_at=0, expires_at=1)


@pytest.mark.parametrize("body", ["hello", "<a-b " * AT_ONCE_CHARS])
async def test_it_is_the_envelope_whatever_its_size(body: str) -> None:
    assert await rendered(message(body), "n0nce") == render(message(body), "n0nce")


@pytest.mark.parametrize("unit", ["<" + " " * 40_000, "<", "<a-b ", "<a_b ", "<\u200b", "\x9b\u3042", "@"])
async def test_a_mebibyte_of_the_worst_leaves_the_loop_alone(unit: str) -> None:
    worst = message((unit * (1024 * 1024 // len(unit) + 1))[: 1024 * 1024])
    going = asyncio.create_task(rendered(worst, "n0nce"))
    # In processor time, which a busy machine does not change: what all threads used while the loop could not run.
    longest, before = 0.0, time.process_time()
    while not going.done():
        await asyncio.sleep(0)
        longest, before = max(longest, (now := time.process_time()) - before), now
    assert nonces(await going) == ("n0nce",)
    assert longest < 0.1
