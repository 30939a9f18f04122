import asyncio

import pytest

from relay_runner.errors import RelayUnavailable
from relay_runner.runner.group import task_group

pytestmark = pytest.mark.anyio


async def _fail(error: Exception, start: asyncio.Event | None = None) -> None:
    if start is not None:
        await start.wait()
    raise error


async def test_an_error_of_ours_comes_out_as_it_is() -> None:
    with pytest.raises(RelayUnavailable):
        async with task_group() as group:
            group.create_task(_fail(RelayUnavailable("gone")))
            await asyncio.Event().wait()


async def test_an_error_of_the_body_too() -> None:
    with pytest.raises(RelayUnavailable):
        async with task_group():
            raise RelayUnavailable("gone")


async def test_what_is_not_ours_stays_a_group() -> None:
    with pytest.raises(ExceptionGroup):
        async with task_group() as group:
            group.create_task(_fail(ValueError("a bug")))


async def test_a_cancellation_is_not_lost_when_the_group_fails_at_the_same_time() -> None:
    start, waiting = asyncio.Event(), asyncio.Event()

    async def service() -> None:
        while True:
            try:
                async with task_group() as group:
                    group.create_task(_fail(RelayUnavailable("gone"), start))
                    waiting.set()
                    await asyncio.Event().wait()
            except RelayUnavailable:
                await asyncio.sleep(3600)

    task = asyncio.create_task(service())
    await waiting.wait()
    start.set()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
