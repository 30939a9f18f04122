"""A runner's services side by side: they end together, by a `Shutdown` that one of them raises."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from relay_runner.runner.group import task_group
from relay_runner.runner.options import RunnerExit


class Shutdown(Exception):
    """Everything is done; the runner ends with this exit."""

    def __init__(self, exit: RunnerExit) -> None:
        super().__init__(exit.reason)
        self.exit = exit


async def live(services: Mapping[str, Coroutine[Any, Any, None]]) -> RunnerExit:
    """Run services by name until one shuts down; any other failure of one ends all and is raised."""
    try:
        async with task_group() as group:
            for name, service in services.items():
                group.create_task(service, name=name)
    except BaseExceptionGroup as errors:
        shutdown, others = errors.split(Shutdown)
        if shutdown is not None and others is None:
            return _exit_of(shutdown)
        raise
    raise AssertionError("the services never end by themselves")


def _exit_of(group: BaseExceptionGroup[Shutdown]) -> RunnerExit:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, Shutdown)
    return first.exit
