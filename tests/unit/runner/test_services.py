import asyncio

import pytest

from relay_runner.errors import StoreError
from relay_runner.runner.options import RunnerExit
from relay_runner.runner.services import Shutdown, live

pytestmark = pytest.mark.anyio


async def _for_ever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("told")


async def _ends(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


async def test_a_shutdown_ends_all_and_says_why() -> None:
    ended: list[str] = []
    end = RunnerExit(3, "enough")
    assert await live({"one": _for_ever(ended), "two": _ends(Shutdown(end))}) == end
    assert ended == ["told"]


async def test_two_shutdowns_at_once_are_one() -> None:
    ends = [RunnerExit(0, "enough"), RunnerExit(0, "enough")]
    assert await live({str(n): _ends(Shutdown(end)) for n, end in enumerate(ends)}) == ends[0]


async def test_a_failure_is_raised_and_ends_all() -> None:
    ended: list[str] = []
    with pytest.raises(StoreError, match="no disk"):
        await live({"one": _for_ever(ended), "two": _ends(StoreError("no disk"))})
    assert ended == ["told"]


async def test_a_failure_beside_a_shutdown_is_not_hidden_by_it() -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        await live({"one": _ends(ValueError("a bug")), "two": _ends(Shutdown(RunnerExit(0, "enough")))})
    assert raised.group_contains(ValueError)
