"""The routes of tasks; see `protocol.tasks` for what may become of one."""

from __future__ import annotations

from typing import Any

from relay_runner.protocol.calls import API
from relay_runner.protocol.commands import NewTask, Task, TaskQuery, TaskUpdate
from relay_runner.server.http import Call, Route, query_of

QUERY = {
    "states": "open, in_progress, done, failed; separated by commas",
    "agentId": "only those that this agent has",
    "createdBy": "only those that this principal opened",
    "before": "only ids below this one: the next page",
    "limit": "at most so many (100; at most 500)",
}


async def _create(call: Call) -> Task:
    call.caller.need_send()
    return await call.store.create_task(call.caller, call.body)


async def _list(call: Call) -> list[Task]:
    given: dict[str, Any] = dict(call.query)
    if "states" in given:
        given["states"] = [state for state in given["states"].split(",") if state]
    return await call.store.tasks(call.caller, query_of(given, TaskQuery))


async def _get(call: Call) -> Task:
    return await call.store.get_task(call.caller, call.number("id"))


async def _update(call: Call) -> Task:
    return await call.store.update_task(call.caller, call.number("id"), call.body)


TASK_ROUTES: tuple[Route, ...] = (
    Route("POST", f"{API}/tasks", _create, "Open a task", NewTask, Task, 201),
    Route("GET", f"{API}/tasks", _list, "List tasks, newest first", None, list[Task], parameters=QUERY),
    Route("GET", f"{API}/tasks/{{id}}", _get, "Show a task", None, Task),
    Route("PATCH", f"{API}/tasks/{{id}}", _update, "Move a task on", TaskUpdate, Task),
)
