"""What the store keeps beside messages and agents: commands, permissions, tasks and tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from relay_runner.protocol.access import Caller
from relay_runner.protocol.commands import Command, CommandUpdate, NewCommand, NewTask, Task, TaskQuery, TaskUpdate
from relay_runner.protocol.permissions import (
    NewDecision,
    NewPermission,
    Permission,
    PermissionQuery,
    PermissionUpdate,
)
from relay_runner.protocol.tokens import TokenGrant, TokenInfo
from relay_runner.server.store import orders, permissions, tasks
from relay_runner.server.store.reader import Reader
from relay_runner.server.store.writer import Operation, Transaction, Writer

T = TypeVar("T")


class SqliteDesk:
    """A part of `SqliteStore`, which has the two threads."""

    _writer: Writer
    _reader: Reader
    _holder: tuple[Caller, float] | None = None
    """Whose acts these are, and how long after its end their token counts; None for the relay's own."""

    def _write(self, operation: Operation[T]) -> asyncio.Future[T]:
        return self._writer.ask(self._checked(operation))

    def _read(self, question: Operation[T]) -> Awaitable[T]:
        return self._reader.ask(self._checked(question))

    def _checked(self, operation: Operation[T]) -> Operation[T]:
        """Return the operation with the check of its holder's token before it.

        In the same transaction: whoever was let in may have waited for a body or in the queue while it was revoked.
        """
        if self._holder is None:
            return operation
        caller, grace_s = self._holder

        def checked(tx: Transaction) -> T:
            orders.check_token(tx, caller, grace_s)
            return operation(tx)

        return checked

    # --- commands -----------------------------------------------------------------------------------------------------

    async def command(self, caller: Caller, new: NewCommand) -> Command:
        """Take an order."""
        return await self._write(lambda tx: orders.command(tx, caller, new))

    async def get_command(self, caller: Caller, command_id: str) -> Command:
        """Return an order that concerns the caller."""
        return await self._read(lambda tx: orders.get_command(tx, caller, command_id))

    async def commands(self, agent_id: str, *, pending: bool) -> list[Command]:
        """Return an agent's orders, oldest first."""
        return await self._read(lambda tx: orders.commands(tx, agent_id, pending=pending))

    async def update_command(self, caller: Caller, command_id: str, update: CommandUpdate) -> Command:
        """Move an order on."""
        return await self._write(lambda tx: orders.update_command(tx, caller, command_id, update))

    # --- permissions --------------------------------------------------------------------------------------------------

    async def open_permission(self, new: NewPermission) -> Permission:
        """Open a permission of an agent's current instance."""
        return await self._write(lambda tx: permissions.open_permission(tx, new))

    async def permission(self, caller: Caller, permission_id: str) -> Permission:
        """Return a permission that concerns the caller."""
        return await self._read(lambda tx: permissions.permission(tx, caller, permission_id))

    async def permissions(self, query: PermissionQuery) -> list[Permission]:
        """Return the permissions asked for, oldest first."""
        return await self._read(lambda tx: permissions.permissions(tx, query))

    async def decide(self, caller: Caller, permission_id: str, new: NewDecision) -> Permission:
        """Answer a permission; the first answer stands."""
        return await self._write(lambda tx: permissions.decide(tx, caller, permission_id, new))

    async def update_permission(self, permission_id: str, update: PermissionUpdate) -> Permission:
        """Note what the agent's current instance says of a permission."""
        return await self._write(lambda tx: permissions.update_permission(tx, permission_id, update))

    # --- tasks and tokens ---------------------------------------------------------------------------------------------

    async def create_task(self, caller: Caller, new: NewTask) -> Task:
        """Open a task."""
        return await self._write(lambda tx: tasks.create(tx, caller, new))

    async def get_task(self, caller: Caller, task_id: int) -> Task:
        """Return a task that concerns the caller."""
        return await self._read(lambda tx: tasks.get(tx, caller, task_id))

    async def tasks(self, caller: Caller, query: TaskQuery) -> list[Task]:
        """Return the tasks asked for that concern the caller, newest first."""
        return await self._read(lambda tx: tasks.listed(tx, caller, query))

    async def update_task(self, caller: Caller, task_id: int, update: TaskUpdate) -> Task:
        """Move a task on."""
        return await self._write(lambda tx: tasks.update(tx, caller, task_id, update))

    async def put_token(self, grant: TokenGrant, parent: str | None = None) -> None:
        """Remember a token that was made."""
        await self._write(lambda tx: orders.put_token(tx, grant, parent))

    async def revoke_token(self, jti: str) -> None:
        """Make a token and all its successors worthless."""
        await self._write(lambda tx: orders.revoke_token(tx, jti))

    async def tokens(self) -> list[TokenInfo]:
        """Return what is known of the tokens, the newest first."""
        return await self._read(orders.tokens)

    async def token_good(self, jti: str) -> bool:
        """Say whether a token is known and was not revoked."""
        row = await self._read(lambda tx: tx.one("token_revoked", (jti,)))
        return row is not None and not row[0]
