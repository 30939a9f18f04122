"""Permissions in the store."""

from __future__ import annotations

from relay_runner.protocol import decisions
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.permissions import (
    NewDecision,
    NewPermission,
    Permission,
    PermissionQuery,
    PermissionUpdate,
)
from relay_runner.protocol.wire import encode
from relay_runner.server.store.agents import current_instance
from relay_runner.server.store.rows import permission_of
from relay_runner.server.store.writer import Transaction

MAX_LISTED = 500


def open_permission(tx: Transaction, new: NewPermission) -> Permission:
    """Open a permission of an agent's current instance."""
    current_instance(tx, new.agent_id, new.instance_id)
    known = _find(tx, new.id)
    opened = decisions.open_permission(new, known, tx.now)
    return opened if opened is known else _put(tx, opened)


def permission(tx: Transaction, caller: Caller, permission_id: str) -> Permission:
    """Return a permission to its agent's runner or to an operator."""
    found = _get(tx, permission_id, tell_near=caller.operates)
    if not caller.may_see(agent_principal(found.agent_id)):
        raise decisions.unknown_permission(permission_id, ())
    return found


def permissions(tx: Transaction, query: PermissionQuery) -> list[Permission]:
    """Return the permissions asked for, oldest first."""
    limit = max(1, min(query.limit, MAX_LISTED))
    rows = tx.run("permissions", {"agent": query.agent_id, "open": query.open, "limit": limit})
    return [permission_of(row) for row in rows]


def decide(tx: Transaction, caller: Caller, permission_id: str, new: NewDecision) -> Permission:
    """Answer a permission; the first answer stands."""
    before = _get(tx, permission_id, tell_near=True)
    after = decisions.decide(before, new, caller.subject, tx.now)
    return before if after is before else _put(tx, after)


def update_permission(tx: Transaction, permission_id: str, update: PermissionUpdate) -> Permission:
    """Note what an agent's current instance says of a permission."""
    current_instance(tx, update.agent_id, update.instance_id)
    before = _get(tx, permission_id, tell_near=False)
    after = decisions.update_permission(before, update, tx.now)
    return before if after is before else _put(tx, after)


def withdraw_all(tx: Transaction, agent_id: str) -> None:
    """Close what an agent asks that is gone for good."""
    for row in tx.run("permissions_open", (agent_id,)).fetchall():
        _put(tx, decisions.withdraw(permission_of(row), tx.now))


def _find(tx: Transaction, permission_id: str) -> Permission | None:
    row = tx.one("permission", (permission_id,))
    return None if row is None else permission_of(row)


def _get(tx: Transaction, permission_id: str, *, tell_near: bool) -> Permission:
    found = _find(tx, permission_id)
    if found is None:
        known = [row[0] for row in tx.run("permission_ids")] if tell_near else []
        raise decisions.unknown_permission(permission_id, known)
    return found


def _put(tx: Transaction, permission: Permission) -> Permission:
    value = encode(permission).decode()
    tx.run("put_permission", (permission.id, permission.agent_id, permission.state.value, value, permission.updated_at))
    tx.emit("permission", decisions.event_of(permission), permission=permission)
    return permission
