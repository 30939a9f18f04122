import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ProviderUnsupported
from relay_runner.protocol.commands import Command, CommandState, NewCommand
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.commands import Commands
from relay_runner.runner.journal import Journal
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


class Office:
    """The commands of an agent that is on the relay, and what was done."""

    def __init__(self, journal: Journal) -> None:
        self.desk = Desk(journal, MemoryRelay())
        self.done: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.commands = self.commands_of(journal)

    def commands_of(self, journal: Journal) -> Commands:
        table = {"agent.work": self._work, "agent.fail": self._fail}
        return Commands(self.desk.relay, journal, "bob", table)

    async def _work(self, command: Command) -> Mapping[str, Any]:
        await self.gate.wait()
        self.done.append(str(command.args.get("n")))
        return {"n": command.args.get("n")}

    async def _fail(self, command: Command) -> Mapping[str, Any]:
        raise ProviderUnsupported("this one cannot do that")

    async def order(self, type: str = "agent.work", **args: Any) -> Command:
        timeout_s = args.pop("timeout_s", 10.0)
        return await self.desk.operator.command(NewCommand(type=type, target="bob", args=args, timeout_s=timeout_s))

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
    assert settled.result == {"action": "agent.work", "agentId": "bob", "n": 1}


async def test_they_run_one_after_the_other_in_order(office: Office) -> None:
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


async def test_a_successor_does_not_do_it_again(office: Office, journal: Journal) -> None:
    command = await office.order(n=1)
    office.commands.offer(command)
    await office.settled(command)
    successor = office.commands_of(journal)
    successor.offer(command)
    assert successor._queue.empty()


async def test_what_came_while_nobody_listened_is_fetched(office: Office) -> None:
    command = await office.order(n=7)
    await office.commands.fetch()
    assert (await office.settled(command)).state is CommandState.SUCCEEDED


@pytest.mark.parametrize(
    ("type", "reason"),
    [("agent.fail", "this one cannot do that"), ("agent.dance", "unknown command 'agent.dance'")],
)
async def test_what_cannot_be_done_fails_with_the_reason(office: Office, type: str, reason: str) -> None:
    command = await office.order(type)
    office.commands.offer(command)
    settled = await office.settled(command)
    assert (settled.state, settled.result["reason"]) == (CommandState.FAILED, reason)


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

    async def running() -> bool:
        return (await office.desk.operator.get_command(command.id)).state is CommandState.RUNNING

    await until(running)
    await office.commands.farewell("agent.shutdown by person:operator")
    settled = await office.desk.operator.get_command(command.id)
    assert (settled.state, settled.result["reason"]) == (CommandState.SUCCEEDED, "agent.shutdown by person:operator")
    office.gate.set()
