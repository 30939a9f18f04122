"""Promise: commands: accepted, running, succeeded or failed; in order, in time, each once."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from relay_runner.errors import ProviderUnsupported, RelayUnavailable
from relay_runner.protocol.agents import WorkKind
from relay_runner.protocol.commands import Command, CommandState, CommandUpdate, NewCommand
from relay_runner.protocol.shape import CUT
from relay_runner.protocol.wire import decode, encode
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.commands import Commands
from relay_runner.runner.identity import Identity
from relay_runner.runner.journal import Journal
from relay_runner.runner.options import RunnerOptions
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


def identity_of(agent_id: str, instance_id: str) -> Identity:
    """Return who runs the agent, under a chosen instance id."""
    identity = Identity(RunnerOptions(agent_id=agent_id, provider="scripted", cwd=Path("/project")))
    identity.instance_id = instance_id
    return identity


class Office:
    """The commands of an agent that is on the relay, and what was done."""

    def __init__(self, journal: Journal) -> None:
        self.desk = Desk(journal, MemoryRelay())
        self.done: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.commands = self.commands_of(journal)

    def commands_of(self, journal: Journal, instance_id: str = "i1") -> Commands:
        self.identity = identity_of("bob", instance_id)
        desk = self.desk
        return Commands(desk.relay, journal, self.identity, desk.work, desk.presence.publish, self._obey)

    async def _obey(self, command: Command) -> Mapping[str, Any]:
        if command.type == "agent.fail":
            raise ProviderUnsupported("this one cannot do that")
        if command.type == "agent.surprise":
            raise KeyError("thread")
        if command.type == "agent.deep":
            return {"providerResult": decode(b"[" * 900 + b"]" * 900, object)}
        await self.gate.wait()
        self.done.append(str(command.args.get("n")))
        return {"providerResult": {"n": command.args.get("n")}}

    async def order(self, type: str = "agent.work", **args: Any) -> Command:
        timeout_s = args.pop("timeout_s", 10.0)
        return await self.desk.operator.command(NewCommand(type=type, target="bob", args=args, timeout_s=timeout_s))

    async def is_running(self, command: Command) -> None:
        async def running() -> bool:
            return (await self.desk.operator.get_command(command.id)).state is CommandState.RUNNING

        await until(running)

    async def settled(self, command: Command) -> Command:
        async def over() -> bool:
            state = (await self.desk.operator.get_command(command.id)).state
            return state in (CommandState.SUCCEEDED, CommandState.FAILED)

        await until(over)
        return await self.desk.operator.get_command(command.id)


@pytest.fixture
async def office(journal: Journal) -> AsyncIterator[Office]:
    office = Office(journal)
    async with office.desk.running(None), asyncio.TaskGroup() as group:
        running = group.create_task(office.commands.run())
        yield office
        running.cancel()


async def test_a_command_succeeds_with_its_result(office: Office) -> None:
    command = await office.order(n=1)
    office.commands.offer(command)
    settled = await office.settled(command)
    assert settled.state is CommandState.SUCCEEDED
    ids = {"command": command.id, "runner": office.identity.runner_id, "instance": "i1"}
    assert settled.result == {"action": "agent.work", "agentId": "bob", "ids": ids, "providerResult": {"n": 1}}


async def test_not_14_they_run_one_after_the_other_in_order(office: Office) -> None:
    """Mistake 14: commands repeated or overlapping."""
    office.gate.clear()
    commands = [await office.order(n=n) for n in range(3)]
    for command in commands:
        office.commands.offer(command)
    office.gate.set()
    for command in commands:
        await office.settled(command)
    assert office.done == ["0", "1", "2"]


async def test_the_same_command_twice_is_done_once(office: Office) -> None:
    command = await office.order(n=1)
    for _ in range(3):
        office.commands.offer(command)
    await office.commands.fetch()
    await office.settled(command)
    last = await office.order(n=2)
    office.commands.offer(last)
    await office.settled(last)
    assert office.done == ["1", "2"]


async def test_a_successor_does_not_do_again_what_is_done(office: Office, journal: Journal) -> None:
    command = await office.order(n=1)
    office.commands.offer(command)
    await office.settled(command)
    successor = office.commands_of(journal, "i2")
    successor.offer(command)  # as the relay sent it first: accepted
    async with asyncio.TaskGroup() as group:
        running = group.create_task(successor.run())
        await until(successor._queue.empty)
        running.cancel()
    assert office.done == ["1"]


async def test_not_14_what_was_running_when_the_runner_died_is_answered_and_never_run_again(
    office: Office, journal: Journal
) -> None:
    """Mistake 14: commands repeated or overlapping."""
    office.gate.clear()
    command = await office.order(n=1)
    office.commands.offer(command)
    await office.is_running(command)
    successor = office.commands_of(journal, "i2")  # the first one is dead: it never comes out of the gate
    await successor.fetch()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(successor.run())
        settled = await office.settled(command)
        running.cancel()
    assert settled.state is CommandState.FAILED
    assert settled.result["unknown"] is True and "what became of it is unknown" in settled.result["reason"]
    assert office.done == []


async def test_what_was_taken_and_not_begun_is_done_by_the_successor_once(office: Office, journal: Journal) -> None:
    office.gate.clear()
    first, second = await office.order(n=1), await office.order(n=2)
    office.commands.offer(first)
    office.commands.offer(second)
    await office.is_running(first)
    successor = office.commands_of(journal, "i2")
    await successor.fetch()
    await successor.fetch()
    office.gate = asyncio.Event()
    office.gate.set()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(successor.run())
        assert (await office.settled(second)).state is CommandState.SUCCEEDED
        running.cancel()
    assert office.done == ["2"]


async def test_an_end_that_the_relay_was_not_told_is_told_by_the_successor(office: Office, journal: Journal) -> None:
    tell = office.desk.relay.update_command

    async def away(command_id: str, update: CommandUpdate) -> Command:
        raise RelayUnavailable("away")

    office.desk.relay.update_command = away  # type: ignore[method-assign]
    command = await office.order(n=1)
    office.commands.offer(command)
    await until(lambda: office.done == ["1"] and not office.desk.work.items)
    office.desk.relay.update_command = tell  # type: ignore[method-assign]
    successor = office.commands_of(journal, "i2")
    await successor.fetch()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(successor.run())
        assert (await office.settled(command)).result["providerResult"] == {"n": 1}
        running.cancel()
    assert office.done == ["1"]


async def test_an_end_that_the_relay_was_not_told_is_told_when_it_is_back(office: Office) -> None:
    tell = office.desk.relay.update_command

    async def away(command_id: str, update: CommandUpdate) -> Command:
        raise RelayUnavailable("away")

    command = await office.order(n=1)
    office.gate.clear()
    office.commands.offer(command)
    await office.is_running(command)
    office.desk.relay.update_command = away  # type: ignore[method-assign]
    office.gate.set()
    await until(lambda: office.done == ["1"] and not office.desk.work.items)
    office.desk.relay.update_command = tell  # type: ignore[method-assign]
    await office.commands.fetch()
    assert (await office.settled(command)).result["providerResult"] == {"n": 1}
    assert office.done == ["1"]


async def test_a_command_for_a_runner_that_ended_is_not_for_its_successor(office: Office) -> None:
    command = await office.order(n=1)
    office.commands.offer(replace(command, target="r-dead"))
    assert "r-dead, which has ended" in (await office.settled(command)).result["reason"]
    assert office.done == []


async def test_one_that_its_giver_was_told_has_failed_is_not_done_later(office: Office) -> None:
    command = await office.order(n=1, timeout_s=0.01)
    await asyncio.sleep(0.02)
    office.desk.operator.hub.sweep()
    assert (await office.settled(command)).state is CommandState.FAILED
    office.commands.offer(command)  # as the bus brought it, before
    last = await office.order(n=2)
    office.commands.offer(last)
    await office.settled(last)
    assert office.done == ["2"]


async def test_a_command_is_work_while_it_runs(office: Office) -> None:
    office.gate.clear()
    command = await office.order(n=1)
    office.commands.offer(command)
    await office.is_running(command)
    (item,) = office.desk.work.items
    assert (item.kind, item.id, item.label) == (WorkKind.COMMAND, command.id, "agent.work from person:operator")
    office.gate.set()
    await office.settled(command)
    assert office.desk.work.items == ()


async def test_what_came_while_nobody_listened_is_fetched(office: Office) -> None:
    command = await office.order(n=7)
    await office.commands.fetch()
    assert (await office.settled(command)).state is CommandState.SUCCEEDED


async def test_what_cannot_be_done_fails_with_the_reason(office: Office) -> None:
    command = await office.order("agent.fail")
    office.commands.offer(command)
    settled = await office.settled(command)
    assert (settled.state, settled.result["reason"]) == (CommandState.FAILED, "this one cannot do that")


async def test_a_result_that_is_too_deep_is_told_without_what_is_too_deep(office: Office) -> None:
    command = await office.order("agent.deep")
    office.commands.offer(command)
    ended = await office.settled(command)
    assert ended.state is CommandState.SUCCEEDED and CUT in encode(ended.result).decode()


async def test_what_nobody_foresaw_fails_the_command_and_nothing_else(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    surprise = await office.order("agent.surprise")
    office.commands.offer(surprise)
    settled = await office.settled(surprise)
    assert (settled.state, settled.result["code"]) == (CommandState.FAILED, "internal")
    assert "KeyError" in settled.result["reason"] and "Traceback" in caplog.text
    last = await office.order(n=2)
    office.commands.offer(last)
    assert (await office.settled(last)).state is CommandState.SUCCEEDED


async def test_a_command_that_takes_too_long_fails_and_the_next_one_runs(office: Office) -> None:
    office.gate.clear()
    slow = await office.order(n=1, timeout_s=0.05)
    office.commands.offer(slow)
    assert "not done within" in (await office.settled(slow)).result["reason"]
    office.gate.set()
    last = await office.order(n=2)
    office.commands.offer(last)
    assert (await office.settled(last)).state is CommandState.SUCCEEDED


async def test_the_command_that_ends_the_runner_is_reported_at_the_end(office: Office) -> None:
    office.gate.clear()
    command = await office.order(n=1)
    office.commands.offer(command)
    await office.is_running(command)
    await office.commands.farewell("agent.shutdown by person:operator", ordered=True)
    settled = await office.desk.operator.get_command(command.id)
    assert (settled.state, settled.result["reason"]) == (CommandState.SUCCEEDED, "agent.shutdown by person:operator")
    office.gate.set()


async def test_a_command_that_the_end_of_the_runner_cuts_off_did_not_succeed(office: Office) -> None:
    office.gate.clear()
    command = await office.order(n=1)
    office.commands.offer(command)
    await office.is_running(command)
    await office.commands.farewell("SIGTERM", ordered=False)
    settled = await office.desk.operator.get_command(command.id)
    assert (settled.state, settled.result["unknown"]) == (CommandState.FAILED, True)
    assert "(SIGTERM)" in settled.result["reason"]
    office.gate.set()
