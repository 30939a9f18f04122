"""A loop beside a body: whose error comes out, and how."""

from __future__ import annotations

import asyncio

import pytest

from relay_runner.providers.beside import beside

pytestmark = pytest.mark.anyio


async def for_ever(ended: list[bool]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(True)


async def broken() -> None:
    raise LookupError("the loop")


async def test_the_loop_ends_with_the_body() -> None:
    ended: list[bool] = []
    async with asyncio.timeout(20), beside(for_ever(ended)):
        await asyncio.sleep(0)
    assert ended == [True]


async def test_the_bodys_error_comes_out_as_it_is() -> None:
    ended: list[bool] = []
    with pytest.raises(ValueError, match="the body"):
        async with beside(for_ever(ended)):
            await asyncio.sleep(0)
            raise ValueError("the body")
    assert ended == [True]


async def test_the_loops_error_ends_the_body() -> None:
    with pytest.raises(LookupError, match="the loop"):
        async with asyncio.timeout(20), beside(broken()):
            await asyncio.Event().wait()


async def test_a_cancelled_body_stays_cancelled() -> None:
    ended: list[bool] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), beside(for_ever(ended)):
            await asyncio.Event().wait()
    assert ended == [True]
