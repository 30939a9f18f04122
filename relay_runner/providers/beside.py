"""Run a loop beside the body of an `async with`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` while the body runs, cancel it when the body ends; an error of either comes out as it is.

    A bare TaskGroup would wrap the body's own errors into a group, and the caller could not catch them by their type.
    """
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            try:
                yield
            except Exception as error:
                failure = error
            finally:
                task.cancel()
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) == 1 and failure is None:
            raise errors.exceptions[0] from None
        raise
    if failure is not None:
        raise failure
