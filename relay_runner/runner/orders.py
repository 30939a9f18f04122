"""What every command does: the one table of orders about the agent.

`agent.shutdown`, `kill` and `restart` are the supervisor's, `reconnect` the bus's, `permissionDecision` the permission
service's; `interrupt` and everything else is the provider's: `agent.X` is its operation `X`, where it has one. What
nobody here can do is refused with what can be done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from relay_runner.errors import AgentAttended, ConfigError, ProviderRefused, ProviderUnsupported
from relay_runner.protocol.commands import Command
from relay_runner.protocol.permissions import NewDecision
from relay_runner.protocol.wire import convert
from relay_runner.providers.base import Operation, Process
from relay_runner.runner.instruction import Order
from relay_runner.runner.supervisor import Supervisor

Result = Mapping[str, Any]
Decide = Callable[[str, NewDecision, str], Awaitable[Result]]
"""Answers an open permission by its id, for a principal; raises where there is none, or where it was answered."""

PREFIX = "agent."
OPERATIONS = {"clearContext": "clear", "injectContext": "inject"}
"""Commands that the provider knows under another name."""
REASON = "reason"
"""Why it is ordered: every command takes that, and it is for the record alone where nothing is done with it."""
OWN = {"kill": ("force",), "restart": ("force",)}
"""What the runner's own commands take besides; a decision checks its own words."""
CHECKED_LATER = frozenset({"permissionDecision", "injectContext", "inject"})
UNSPOKEN = frozenset({"operations", "permissionDecision", *OPERATIONS})
"""Commands that nobody types: what an agent can do is told without them."""


async def nobody_decides(permission_id: str, decision: NewDecision, by: str) -> Result:
    """Refuse: this runner passes no permissions on."""
    raise ProviderUnsupported("this agent's permissions cannot be answered from elsewhere")


class Orders:
    """Carry out one command at a time; see `commands` for their order, their time and their report."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        rejoin: Callable[[], Awaitable[None]],
        go_on: Callable[[], str | None],
        decide: Decide = nobody_decides,
    ) -> None:
        self._supervisor = supervisor
        self._rejoin = rejoin
        self._go_on = go_on
        self._decide = decide
        self._table: dict[str, Callable[[Command], Awaitable[Result]]] = {
            "shutdown": self._shutdown,
            "kill": self._kill,
            "restart": self._restart,
            "reconnect": self._reconnect,
            "retry": self._retry,
            "interrupt": self._interrupt,
            "permissionDecision": self._permission,
            "injectContext": self._inject,
            "inject": self._inject,
            "operations": self._list,
        }
        self.retiring = False
        """Whether the agent leaves the relay's list when this runner ends: it was ordered to end."""

    async def obey(self, command: Command) -> Result:
        """Do what is ordered and return what to report beside the ids; raise where it cannot be done."""
        action = command.type.removeprefix(PREFIX)
        own = self._table.get(action)
        if own is None:
            return await self._operate(command, action, command.args)
        if action not in CHECKED_LATER:
            Operation("", dict.fromkeys((*OWN.get(action, ()), REASON), "")).check(action, command.args)
        return await own(command)

    # --- the runner's own ---------------------------------------------------------------------------------------------

    async def _shutdown(self, command: Command) -> Result:
        return await self._end(Order.STOP, command)

    async def _kill(self, command: Command) -> Result:
        await self._leave_alone(command)
        return await self._end(Order.KILL, command)

    async def _end(self, order: Order, command: Command) -> Result:
        """End the provider; the runner ends with it, and `Commands.farewell` makes sure that this is reported."""
        self.retiring = True
        reason = _reason(command)
        await self._supervisor.order(order, reason).carried_out()
        return {"reason": reason}

    async def _restart(self, command: Command) -> Result:
        await self._leave_alone(command)
        reason = _reason(command)
        await self._supervisor.order(Order.RESTART, reason).carried_out()
        return {"reason": reason}

    async def _leave_alone(self, command: Command) -> None:
        """Raise while a person looks at the agent: nobody elsewhere takes it from under their hands, unless forced."""
        if command.args.get("force") is not True and await self._supervisor.attended():
            raise AgentAttended(f"a person is attached to {command.target}", hint="--force does it all the same")

    async def _reconnect(self, command: Command) -> Result:
        await self._rejoin()
        return {}

    async def _retry(self, command: Command) -> Result:
        held = self._go_on()
        if held is None:
            raise ProviderRefused("no message is held")
        return {"reason": f"it goes on; it was {held}"}

    async def _permission(self, command: Command) -> Result:
        permission_id = command.args.get("permissionId")
        if not isinstance(permission_id, str):
            raise ConfigError("a decision needs the permissionId that it is about")
        given = {name: value for name, value in command.args.items() if name != "permissionId"}
        return await self._decide(permission_id, convert(given, NewDecision), command.sender)

    # --- the provider's -----------------------------------------------------------------------------------------------

    async def _interrupt(self, command: Command) -> Result:
        process = self._process()
        await process.interrupt()
        return {"providerResult": {"state": str(process.state)}}

    async def _inject(self, command: Command) -> Result:
        """Give the model context without a turn; answer how many pieces went in, and of which memories they are."""
        content, ids = command.args.get("content"), command.args.get("memoryIds")
        made_of = {"memoryIds": ids} if ids else {}
        if content is None and isinstance(items := command.args.get("items"), list):
            return {**await self._operate(command, "inject", command.args), "count": len(items), **made_of}
        pieces = [content] if isinstance(content, str) else content
        if (
            not pieces
            or not isinstance(pieces, list)
            or not all(isinstance(one, str) and one.strip() for one in pieces)
        ):
            raise ConfigError("nothing to inject: `content` is a text, or a list of texts")
        args = {**command.args, "content": "\n\n".join(pieces)}
        return {**await self._operate(command, "inject", args), "count": len(pieces), **made_of}

    async def _list(self, command: Command) -> Result:
        """Tell what the provider can do now."""
        told = sorted(self._process().operations.items())
        known = [{"name": name, "summary": one.summary, "takes": dict(one.takes)} for name, one in told]
        return {"providerResult": {"operations": known}}

    async def _operate(self, command: Command, action: str, args: Mapping[str, Any]) -> Result:
        process = self._process()
        operation = OPERATIONS.get(action, action)
        if operation not in process.operations or not command.type.startswith(PREFIX):
            there = sorted({*self._table} - {"inject"} - UNSPOKEN | {*process.operations} - UNSPOKEN)
            raise ProviderUnsupported(f"this agent cannot {operation!r}", hint=f"it can {', '.join(there)}")
        told = process.operations[operation]
        given = {name: value for name, value in args.items() if name != REASON or REASON in told.takes}
        told.check(operation, given)
        return {"providerResult": dict(await process.operate(operation, given))}

    def _process(self) -> Process:
        process = self._supervisor.process
        if process is None:
            raise ProviderUnsupported("no provider runs just now")
        return process


def _reason(command: Command) -> str:
    """Return why the agent ends or restarts, as people read it in logs and on the relay."""
    given = command.args.get("reason")
    return f"{command.type} by {command.sender}" + (f" ({given})" if isinstance(given, str) and given else "")
