import asyncio

import pytest

from relay_runner.runner.bell import Bell

pytestmark = pytest.mark.anyio


async def test_a_ring_wakes_everybody_and_is_not_missed() -> None:
    bell, count = Bell(), 0
    waiting = [asyncio.ensure_future(bell.until(lambda: count >= 2)) for _ in range(3)]
    await asyncio.sleep(0)
    for number in (1, 2):
        count = number
        bell.ring()
    await asyncio.wait_for(asyncio.gather(*waiting), 10)


async def test_what_holds_already_is_not_waited_for() -> None:
    await asyncio.wait_for(Bell().until(lambda: True), 10)


async def test_a_ring_between_looking_and_waiting_is_heard() -> None:
    bell = Bell()
    with bell.listening() as rung:
        rung.clear()
        bell.ring()
        await asyncio.wait_for(rung.wait(), 10)
    bell.ring()
    assert rung.is_set()
