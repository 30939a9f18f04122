"""What a relay in memory is asked beside messages: commands, permissions, tasks and tokens."""

from __future__ import annotations

from relay_runner.protocol.access import Caller, token_info
from relay_runner.protocol.commands import Command, CommandUpdate, NewCommand, NewTask, Task, TaskQuery, TaskUpdate
from relay_runner.protocol.permissions import (
    NewDecision,
    NewPermission,
    Permission,
    PermissionQuery,
    PermissionUpdate,
)
from relay_runner.protocol.tokens import TokenGrant, TokenInfo, TokenRequest
from relay_runner.relay.memory.healing import Heal, healing
from relay_runner.relay.memory.hub import Hub

GRACE_S = 600.0


@healing("renew_token", "who_am_i")
class MemoryDesk:
    """A part of `MemoryRelay`, which says who asks."""

    hub: Hub
    _token: str
    _heal: Heal | None

    @property
    def _caller(self) -> Caller:
        return self.hub.ledger.holder(self._token)

    def _speak_for(self, agent_id: str, instance_id: str) -> None:
        self._caller.need_agent(agent_id)
        self.hub.members.current(agent_id, instance_id)

    async def command(self, new: NewCommand) -> Command:
        """Give an order about an agent."""
        self._caller.need_operator()
        return self.hub.ledger.command(self._caller, new)

    async def get_command(self, command_id: str) -> Command:
        """Return an order and what became of it."""
        self.hub.sweep()
        return self.hub.ledger.get_command(self._caller, command_id)

    async def update_command(self, command_id: str, update: CommandUpdate) -> Command:
        """Report on an order."""
        return self.hub.ledger.update_command(self._caller, command_id, update)

    async def pending_commands(self, agent_id: str) -> list[Command]:
        """Return the orders for an agent that are neither succeeded nor failed, oldest first."""
        self.hub.sweep()
        return self.hub.ledger.pending(agent_id)

    async def open_permission(self, new: NewPermission) -> Permission:
        """Ask a permission on behalf of an agent; the same id again is the same question."""
        self._speak_for(new.agent_id, new.instance_id)
        return self.hub.questions.open(new)

    async def permissions(self, query: PermissionQuery) -> list[Permission]:
        """Return the permissions that `query` asks for, oldest first."""
        self._caller.need_agent_or_operator(query.agent_id)
        return self.hub.questions.asked(query)

    async def permission(self, permission_id: str) -> Permission:
        """Return one permission."""
        return self.hub.questions.get(self._caller, permission_id)

    async def decide(self, permission_id: str, new: NewDecision) -> Permission:
        """Answer a permission; a late answer is refused with the one that stands."""
        self._caller.need_decider()
        return self.hub.questions.decide(self._caller, permission_id, new)

    async def update_permission(self, permission_id: str, update: PermissionUpdate) -> Permission:
        """Report how a permission ended, or what people must know of it."""
        self._speak_for(update.agent_id, update.instance_id)
        return self.hub.questions.update(permission_id, update)

    async def create_task(self, new: NewTask) -> Task:
        """Open a task."""
        self._caller.need_send()
        return self.hub.tasks.create(self._caller, new)

    async def get_task(self, task_id: int) -> Task:
        """Return one task."""
        return self.hub.tasks.get(self._caller, task_id)

    async def tasks(self, query: TaskQuery) -> list[Task]:
        """Return the tasks that `query` asks for, newest first."""
        return self.hub.tasks.listed(self._caller, query)

    async def update_task(self, task_id: int, update: TaskUpdate) -> Task:
        """Move a task on; its metadata is merged."""
        return self.hub.tasks.update(self._caller, task_id, update)

    async def issue_token(self, request: TokenRequest) -> TokenGrant:
        """Make a token for a principal."""
        self._caller.need_grant(request)
        caller = Caller(request.subject, frozenset(request.scopes), profile_id=request.profile_id)
        return self.hub.ledger.grant(caller, request.ttl_s)

    async def renew_token(self) -> TokenGrant:
        """Return a successor of the token in use."""
        caller = self.hub.ledger.holder(self._token, grace_s=GRACE_S)
        caller.need_renewable()
        return self.hub.ledger.grant(caller, caller.expires_at - caller.issued_at, parent=caller.jti)

    async def who_am_i(self) -> TokenInfo:
        """Return whose the token in use is."""
        return token_info(self._caller)

    async def list_tokens(self) -> list[TokenInfo]:
        """Return what is known of the tokens that the relay made."""
        self._caller.need_operator()
        return self.hub.ledger.tokens()

    async def revoke_token(self, jti: str) -> None:
        """Make a token worthless from now on."""
        self._caller.need_operator()
        self.hub.ledger.revoke(jti)
