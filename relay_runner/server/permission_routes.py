"""The routes of permissions: a runner asks, operators answer, and an agent can do neither for itself."""

from __future__ import annotations

from relay_runner.protocol.calls import API
from relay_runner.protocol.permissions import (
    NewDecision,
    NewPermission,
    Permission,
    PermissionQuery,
    PermissionUpdate,
)
from relay_runner.server.http import Call, Route, query_of

QUERY = {
    "agentId": "only this agent's; without it everybody's, for an operator",
    "open": "only those that are not closed",
    "limit": "the newest so many (100; at most 500)",
}


async def _open_permission(call: Call) -> Permission:
    call.caller.need_agent(call.body.agent_id)
    return await call.store.open_permission(call.body)


async def _permissions(call: Call) -> list[Permission]:
    query = query_of(call.query, PermissionQuery)
    call.caller.need_agent_or_operator(query.agent_id)
    return await call.store.permissions(query)


async def _permission(call: Call) -> Permission:
    return await call.store.permission(call.caller, call.text("id"))


async def _decide(call: Call) -> Permission:
    call.caller.need_decider()
    return await call.store.decide(call.caller, call.text("id"), call.body)


async def _update_permission(call: Call) -> Permission:
    call.caller.need_agent(call.body.agent_id)
    return await call.store.update_permission(call.text("id"), call.body)


PERMISSIONS = f"{API}/permissions"
PERMISSION_ROUTES: tuple[Route, ...] = (
    Route("POST", PERMISSIONS, _open_permission, "Ask a permission for an agent", NewPermission, Permission, 201),
    Route("GET", PERMISSIONS, _permissions, "List permissions, oldest first", None, list[Permission], parameters=QUERY),
    Route("GET", PERMISSIONS + "/{id}", _permission, "Show a permission", None, Permission),
    Route(
        "POST",
        PERMISSIONS + "/{id}/decision",
        _decide,
        "Answer a permission; the first answer stands",
        NewDecision,
        Permission,
    ),
    Route("PATCH", PERMISSIONS + "/{id}", _update_permission, "Report on a permission", PermissionUpdate, Permission),
)
