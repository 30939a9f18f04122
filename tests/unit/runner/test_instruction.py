"""An order is settled once: done, or come to nothing with a reason."""

from __future__ import annotations

import asyncio

import pytest

from relay_runner.errors import ProviderExited
from relay_runner.runner.instruction import Instruction, Order, Restarting

pytestmark = pytest.mark.anyio


def order() -> Instruction:
    return Instruction(Order.RESTART, "because")


async def test_what_failed_is_raised_and_what_is_done_stays_done() -> None:
    failed, done = order(), order()
    failed.fail("no terminal")
    with pytest.raises(ProviderExited, match="no terminal"):
        await failed.carried_out()
    done.done()
    done.fail("too late")
    await done.carried_out()


async def test_nothing_is_settled_by_itself() -> None:
    waits = asyncio.create_task(order().carried_out())
    await asyncio.sleep(0)
    assert not waits.done()
    waits.cancel()


async def test_the_next_program_decides_of_the_last_restart() -> None:
    restarting, first, second, third = Restarting(), order(), order(), order()
    restarting.ready()
    restarting.begin(first)
    restarting.begin(second)
    with pytest.raises(ProviderExited, match="restarted again"):
        await first.carried_out()
    restarting.ready()
    await second.carried_out()
    restarting.begin(third)
    restarting.fail("given up")
    with pytest.raises(ProviderExited, match="its program did not start: given up"):
        await third.carried_out()
    restarting.fail("nothing waits")
