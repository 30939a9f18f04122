"""The permissions of a relay in memory."""

from __future__ import annotations

from relay_runner.protocol import decisions
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.frames import PermissionDecision
from relay_runner.protocol.permissions import (
    NewDecision,
    NewPermission,
    Permission,
    PermissionQuery,
    PermissionState,
    PermissionUpdate,
)
from relay_runner.relay.memory.board import Board
from relay_runner.relay.memory.members import Members


class Questions:
    """What agents ask, in the order in which they asked."""

    def __init__(self, board: Board, members: Members) -> None:
        self._board = board
        self._members = members
        self._all: dict[str, Permission] = {}

    def open(self, new: NewPermission) -> Permission:
        """Open a permission; the same id again is the same one."""
        known = self._all.get(new.id)
        return self._put(known, decisions.open_permission(new, known, self._board.clock()))

    def asked(self, query: PermissionQuery) -> list[Permission]:
        """Return the permissions asked for, oldest first."""
        found = [
            permission
            for permission in self._all.values()
            if query.agent_id in (None, permission.agent_id)
            and not (query.open and permission.state is PermissionState.CLOSED)
        ]
        return found[-max(1, query.limit) :]

    def ids(self, *, open: bool = False) -> list[str]:
        """Return the ids of all permissions, or of those that are not closed."""
        return [permission.id for permission in self.asked(PermissionQuery(open=open))]

    def get(self, caller: Caller, permission_id: str) -> Permission:
        """Return a permission to its agent's runner or to an operator."""
        found = self._find(permission_id, tell_near=caller.operates)
        if not caller.may_see(agent_principal(found.agent_id)):
            raise decisions.unknown_permission(permission_id, ())
        return found

    def decide(self, caller: Caller, permission_id: str, new: NewDecision) -> Permission:
        """Answer a permission, and tell its agent."""
        before = self._find(permission_id, tell_near=True)
        after = self._put(before, decisions.decide(before, new, caller.subject, self._board.clock()))
        member = self._members.live().get(after.agent_id)
        if after is not before and member is not None and member.frames is not None:
            for frame in self._frames([after]):
                member.frames.put_nowait(frame)
        return after

    def update(self, permission_id: str, update: PermissionUpdate) -> Permission:
        """Note what its agent's runner says."""
        before = self._find(permission_id, tell_near=False)
        return self._put(before, decisions.update_permission(before, update, self._board.clock()))

    def withdraw_all(self, agent_id: str) -> None:
        """Close what an agent asks that is gone for good."""
        for permission in self.asked(PermissionQuery(agent_id=agent_id, open=True, limit=len(self._all))):
            self._put(permission, decisions.withdraw(permission, self._board.clock()))

    def decided(self, agent_id: str) -> list[PermissionDecision]:
        """Return what an agent's runner is told when it says hello."""
        return self._frames(self.asked(PermissionQuery(agent_id=agent_id, open=True)))

    def _frames(self, permissions: list[Permission]) -> list[PermissionDecision]:
        return [frame for frame in map(decisions.frame_of, permissions) if frame is not None]

    def _find(self, permission_id: str, *, tell_near: bool) -> Permission:
        if permission_id not in self._all:
            raise decisions.unknown_permission(permission_id, list(self._all) if tell_near else ())
        return self._all[permission_id]

    def _put(self, before: Permission | None, after: Permission) -> Permission:
        if after is not before:
            self._all[after.id] = after
            self._board.emit("permission", **decisions.event_of(after))
        return after
