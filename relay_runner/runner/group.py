"""A TaskGroup whose errors can be caught by their type, and which never loses a cancellation.

A plain one wraps every error into a group. And where it fails while its own task is being cancelled, Python 3.11 and
3.12 raise the failure and forget the cancellation: a loop that catches the failure and goes on would never end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from relay_runner.errors import unwrap

T = TypeVar("T")


class Tasks:
    """What `asyncio.TaskGroup` offers, remembering what it started."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self.started: set[asyncio.Task[Any]] = set()

    def create_task(self, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Start a task that ends with the group."""
        task = self._group.create_task(work, name=name)
        self.started.add(task)
        return task


@asynccontextmanager
async def task_group() -> AsyncIterator[Tasks]:
    """Run tasks as `asyncio.TaskGroup` does; raise a single error of ours as it is."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = Tasks(group)
            yield tasks
            # Waited for here and not in the group's exit, where Python 3.11 forgets to take back the cancellation by
            # which a failing task wakes us: then nobody could tell it from a real one.
            if tasks.started:
                await asyncio.wait(tasks.started)
    except BaseExceptionGroup as errors:
        if task.cancelling() > before:
            raise asyncio.CancelledError from errors
        raise unwrap(errors) from None
