"""What a relay is asked beside messages, over HTTP: commands, permissions, tasks and tokens."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from msgspec.structs import asdict

from relay_runner.protocol.calls import API
from relay_runner.protocol.commands import Command, CommandUpdate, NewCommand, NewTask, Task, TaskQuery, TaskUpdate
from relay_runner.protocol.permissions import (
    NewDecision,
    NewPermission,
    Permission,
    PermissionQuery,
    PermissionUpdate,
)
from relay_runner.protocol.tokens import TokenGrant, TokenInfo, TokenRequest
from relay_runner.relay.wire import Wire


class HttpDesk:
    """A part of `HttpRelay`, which has the wire."""

    _wire: Wire

    async def command(self, new: NewCommand) -> Command:
        """Give an order about an agent."""
        return await self._wire.call("POST", f"{API}/commands", Command, new, once=new.idempotency_key is None)

    async def get_command(self, command_id: str) -> Command:
        """Return an order and what became of it."""
        return await self._wire.call("GET", _command(command_id), Command)

    async def update_command(self, command_id: str, update: CommandUpdate) -> Command:
        """Report on an order."""
        return await self._wire.call("PATCH", _command(command_id), Command, update)

    async def pending_commands(self, agent_id: str) -> list[Command]:
        """Return the orders for an agent that are neither succeeded nor failed, oldest first."""
        return await self._wire.list_of(f"{API}/commands", Command, {"agentId": agent_id, "pending": "true"})

    async def open_permission(self, new: NewPermission) -> Permission:
        """Ask a permission on behalf of an agent; the same id again is the same question."""
        return await self._wire.call("POST", f"{API}/permissions", Permission, new)

    async def permissions(self, query: PermissionQuery) -> list[Permission]:
        """Return the permissions that `query` asks for, oldest first."""
        given = {"agentId": query.agent_id, "open": "true" if query.open else None, "limit": str(query.limit)}
        parameters = {name: value for name, value in given.items() if value is not None}
        return await self._wire.list_of(f"{API}/permissions", Permission, parameters)

    async def permission(self, permission_id: str) -> Permission:
        """Return one permission."""
        return await self._wire.call("GET", _permission(permission_id), Permission)

    async def decide(self, permission_id: str, new: NewDecision) -> Permission:
        """Answer a permission; a late answer is refused with the one that stands."""
        return await self._wire.call("POST", f"{_permission(permission_id)}/decision", Permission, new)

    async def update_permission(self, permission_id: str, update: PermissionUpdate) -> Permission:
        """Report how a permission ended, or what people must know of it."""
        return await self._wire.call("PATCH", _permission(permission_id), Permission, update)

    async def create_task(self, new: NewTask) -> Task:
        """Open a task."""
        return await self._wire.call("POST", f"{API}/tasks", Task, new, once=new.idempotency_key is None)

    async def get_task(self, task_id: int) -> Task:
        """Return one task."""
        return await self._wire.call("GET", f"{API}/tasks/{task_id}", Task)

    async def tasks(self, query: TaskQuery) -> list[Task]:
        """Return the tasks that `query` asks for, newest first."""
        return await self._wire.list_of(f"{API}/tasks", Task, _task_query(query))

    async def update_task(self, task_id: int, update: TaskUpdate) -> Task:
        """Move a task on; its metadata is merged."""
        return await self._wire.call("PATCH", f"{API}/tasks/{task_id}", Task, update)

    async def issue_token(self, request: TokenRequest) -> TokenGrant:
        """Make a token for a principal."""
        return await self._wire.call("POST", f"{API}/tokens", TokenGrant, request)

    async def renew_token(self) -> TokenGrant:
        """Return a successor of the token in use; the old one stays good until it expires."""
        return await self._wire.call("POST", f"{API}/tokens/renew", TokenGrant, heal=False)

    async def who_am_i(self) -> TokenInfo:
        """Return whose the token in use is, what it may do, and until when."""
        return await self._wire.call("GET", f"{API}/tokens/self", TokenInfo, heal=False)

    async def list_tokens(self) -> list[TokenInfo]:
        """Return what is known of the tokens that the relay made, the newest first."""
        return await self._wire.list_of(f"{API}/tokens", TokenInfo)

    async def revoke_token(self, jti: str) -> None:
        """Make a token worthless from now on."""
        await self._wire.tell("DELETE", f"{API}/tokens/{quote(jti, safe='')}")


def _command(command_id: str) -> str:
    return f"{API}/commands/{quote(command_id, safe='')}"


def _permission(permission_id: str) -> str:
    return f"{API}/permissions/{quote(permission_id, safe='')}"


def _task_query(query: TaskQuery) -> dict[str, str]:
    """Return a query as the parameters of a URL."""
    values: dict[str, Any] = asdict(query)
    states = ",".join(values.pop("states"))
    names = {"agent_id": "agentId", "created_by": "createdBy"}
    found = {names.get(name, name): str(value) for name, value in values.items() if value is not None}
    return {**found, "states": states} if states else found
