"""Promises: commands, injectContext and shutdown, kill: what each command does."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from relay_runner.errors import (
    AgentAttended,
    ConfigError,
    ProtocolError,
    ProviderExited,
    ProviderRefused,
    ProviderUnsupported,
)
from relay_runner.protocol.commands import Command
from relay_runner.protocol.permissions import Decision, NewDecision
from relay_runner.providers.base import ProcessState
from relay_runner.runner.instruction import Instruction, Order
from relay_runner.runner.orders import Orders
from relay_runner.runner.supervisor import Supervisor
from tests.scripted import ScriptedProcess

pytestmark = pytest.mark.anyio


class Crew:
    """The supervisor's side of the orders: carries out at once, and writes down."""

    def __init__(self) -> None:
        self.process: ScriptedProcess | None = ScriptedProcess()
        self.given: list[tuple[Order, str]] = []
        self.watched = False
        self.failure: str | None = None

    async def attended(self) -> bool:
        return self.watched

    def order(self, order: Order, reason: str, *, code: int = 0) -> Instruction:
        self.given.append((order, reason))
        instruction = Instruction(order, reason, code)
        if self.failure is not None:
            instruction.fail(self.failure)
        instruction.done()
        return instruction


class Office:
    def __init__(self) -> None:
        self.crew = Crew()
        self.rejoined = 0
        self.decided: list[tuple[str, NewDecision, str]] = []
        supervisor = cast(Supervisor, self.crew)
        self.held: str | None = None
        self.orders = Orders(supervisor, rejoin=self._rejoin, go_on=lambda: self.held, decide=self._decide)

    @property
    def process(self) -> ScriptedProcess:
        assert self.crew.process is not None
        return self.crew.process

    async def _rejoin(self) -> None:
        self.rejoined += 1

    async def _decide(self, permission_id: str, decision: NewDecision, by: str) -> Mapping[str, Any]:
        self.decided.append((permission_id, decision, by))
        return {"decision": decision.decision}

    async def obey(self, type: str, **args: Any) -> Mapping[str, Any]:
        made = Command(id="c1", type=type, target="bob", sender="person:ann", created_at=1.0, args=args)
        return await self.orders.obey(made)


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.mark.parametrize(("type", "order"), [("agent.shutdown", Order.STOP), ("agent.kill", Order.KILL)])
async def test_shutdown_and_kill_end_the_provider_and_retire_the_agent(office: Office, type: str, order: Order) -> None:
    assert await office.obey(type, reason="enough") == {"reason": f"{type} by person:ann (enough)"}
    assert office.crew.given == [(order, f"{type} by person:ann (enough)")]
    assert office.orders.retiring


@pytest.mark.parametrize("type", ["agent.kill", "agent.restart"])
async def test_nobody_takes_an_agent_from_under_a_persons_hands_unless_forced(office: Office, type: str) -> None:
    office.crew.watched = True
    for args in ({}, {"force": False}, {"force": "yes"}):
        with pytest.raises(AgentAttended, match="--force"):
            await office.obey(type, **args)
    assert office.crew.given == [] and not office.orders.retiring
    await office.obey(type, force=True)
    await office.obey("agent.shutdown")  # in order: the program itself may still ask
    assert len(office.crew.given) == 2


async def test_a_restart_retires_nobody(office: Office) -> None:
    await office.obey("agent.restart")
    assert office.crew.given == [(Order.RESTART, "agent.restart by person:ann")] and not office.orders.retiring


async def test_a_restart_that_comes_to_nothing_has_failed(office: Office) -> None:
    office.crew.failure = "its program does not run: given up"
    with pytest.raises(ProviderExited, match="does not run: given up"):
        await office.obey("agent.restart")


async def test_reconnect_joins_the_bus_anew(office: Office) -> None:
    assert await office.obey("agent.reconnect") == {} and office.rejoined == 1


async def test_a_wait_for_a_limit_is_ended_where_there_is_one(office: Office) -> None:
    with pytest.raises(ProviderRefused, match="no message is held"):
        await office.obey("agent.retry")
    office.held = "rate-limited until then"
    assert await office.obey("agent.retry") == {"reason": "it goes on; it was rate-limited until then"}


async def test_interrupt_answers_with_what_the_provider_does_now(office: Office) -> None:
    office.process.becomes(ProcessState.BUSY)
    assert await office.obey("agent.interrupt") == {"providerResult": {"state": "idle"}}
    assert office.process.interrupts == 1


@pytest.mark.parametrize(
    ("type", "operation"),
    [("agent.compact", "compact"), ("agent.clearContext", "clear"), ("agent.review", "review")],
)
async def test_what_the_provider_can_do_it_does(office: Office, type: str, operation: str) -> None:
    office.process.operates[operation] = lambda args: {"did": args["what"]}
    office.process.takes[operation] = {"what": "what to do"}
    assert await office.obey(type, what="it") == {"providerResult": {"did": "it"}}
    assert office.process.operated == [(operation, {"what": "it"})]


@pytest.mark.parametrize("type", ["agent.compact", "agent.clearContext", "agent.dance", "host.reboot"])
async def test_what_nobody_can_do_is_refused_with_what_is_there(office: Office, type: str) -> None:
    office.process.operates["review"] = lambda args: {}
    with pytest.raises(ProviderUnsupported) as refused:
        await office.obey(type)
    name = {"agent.clearContext": "clear"}.get(type, type.removeprefix("agent."))
    assert f"this agent cannot '{name}'" in str(refused.value)
    words = "interrupt kill reconnect restart retry review shutdown"
    there = ", ".join(words.split())
    assert refused.value.hint == f"it can {there}"
    assert office.process.operated == []


async def test_context_goes_in_with_its_reason_and_its_memories_and_the_count_comes_back(office: Office) -> None:
    office.process.operates["inject"] = lambda args: {"channel": "script"}
    given = {"reason": "recalled", "memoryIds": ["m1", "m2"]}
    said = await office.obey("agent.injectContext", content=["one", "two"], **given)
    assert said == {"providerResult": {"channel": "script"}, "count": 2, "memoryIds": ["m1", "m2"]}
    alone = await office.obey("agent.injectContext", content="three")
    assert alone["count"] == 1 and "memoryIds" not in alone
    assert office.process.operated == [("inject", {"content": "one\n\ntwo", **given}), ("inject", {"content": "three"})]


@pytest.mark.parametrize("content", [None, "", " \n", [], [""], ["a", 1], 7])
async def test_nothing_is_injected_without_content(office: Office, content: Any) -> None:
    office.process.operates["inject"] = lambda args: {}
    with pytest.raises(ConfigError, match="nothing to inject"):
        await office.obey("agent.injectContext", content=content)
    assert office.process.operated == []


async def test_a_provider_that_takes_no_context_says_so(office: Office) -> None:
    with pytest.raises(ProviderUnsupported, match="this agent cannot 'inject'"):
        await office.obey("agent.injectContext", content="c")


async def test_a_decision_reaches_the_permissions(office: Office) -> None:
    said = await office.obey("agent.permissionDecision", permissionId="p1", decision="deny", reason="no")
    assert said == {"decision": "deny"}
    assert office.decided == [("p1", NewDecision(decision=Decision.DENY, reason="no"), "person:ann")]


@pytest.mark.parametrize(
    ("args", "error"),
    [({"decision": "deny"}, ConfigError), ({"permissionId": "p1", "decision": "perhaps"}, ProtocolError)],
)
async def test_half_a_decision_is_none(office: Office, args: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await office.obey("agent.permissionDecision", **args)
    assert office.decided == []


async def test_without_permissions_nothing_is_decided(office: Office) -> None:
    office.orders = Orders(cast(Supervisor, office.crew), rejoin=office._rejoin, go_on=lambda: None)
    with pytest.raises(ProviderUnsupported):
        await office.obey("agent.permissionDecision", permissionId="p1", decision="deny")


@pytest.mark.parametrize("type", ["agent.interrupt", "agent.compact"])
async def test_between_two_processes_the_provider_cannot_be_asked(office: Office, type: str) -> None:
    office.crew.process = None
    with pytest.raises(ProviderUnsupported, match="no provider runs"):
        await office.obey(type)


async def test_raw_items_are_injected_as_they_are(office: Office) -> None:
    office.process.operates["inject"] = lambda args: {}
    office.process.takes["inject"] = {"items": "raw items"}
    assert (await office.obey("agent.inject", items=[{"type": "message"}]))["count"] == 1
    assert office.process.operated == [("inject", {"items": [{"type": "message"}]})]


async def test_what_the_provider_can_do_is_told_with_what_it_takes(office: Office) -> None:
    office.process.operates["review"] = lambda args: {}
    office.process.operates["compact"] = lambda args: {}
    listed = (await office.obey("agent.operations"))["providerResult"]["operations"]
    assert {"name": "compact", "summary": "shorten what it remembers", "takes": {}} in listed
    assert [one["name"] for one in listed] == ["compact", "review"]


@pytest.mark.parametrize(
    "type", ["shutdown", "kill", "restart", "reconnect", "retry", "interrupt", "compact", "inject", "operations"]
)
async def test_an_argument_that_a_command_does_not_have_is_refused_before_anything_is_done(
    office: Office, type: str
) -> None:
    office.process.operates["compact"] = office.process.operates["inject"] = lambda args: {}
    with pytest.raises(ProviderRefused, match="has no argument 'colour'"):
        await office.obey(f"agent.{type}", colour="red", content="c")
    assert office.process.operated == [] and office.crew.given == []


async def test_why_it_is_ordered_may_always_be_said(office: Office) -> None:
    office.process.operates["compact"] = lambda args: dict(args)
    assert (await office.obey("agent.compact", reason="why"))["providerResult"] == {}
    await office.obey("agent.reconnect", reason="why")
