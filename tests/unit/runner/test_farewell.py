import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay_runner.errors import RelayUnavailable
from relay_runner.protocol.agents import Status
from relay_runner.protocol.commands import CommandState, NewCommand
from relay_runner.protocol.messages import State
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner import farewell
from relay_runner.runner.commands import Commands
from relay_runner.runner.farewell import Farewell
from relay_runner.runner.journal import Journal
from relay_runner.runner.options import RunnerExit
from tests.scripted import takes_it
from tests.terminals import until
from tests.unit.runner.desk import Desk
from tests.unit.runner.test_commands import identity_of

pytestmark = pytest.mark.anyio
END = RunnerExit(0, "enough")


class Home:
    def __init__(self, journal: Journal) -> None:
        self.desk = Desk(journal, MemoryRelay(), script=takes_it)
        self.identity = identity_of("bob", self.desk.instance_id)
        self.gate = asyncio.Event()
        self.commands = Commands(
            self.desk.relay, journal, self.identity, self.desk.work, self.desk.presence.publish, self._obey
        )
        self.farewell = Farewell(
            self.desk.relay, receipts=self.desk.receipts, inbox=self.desk.inbox, commands=self.commands,
            identity=self.identity, work=self.desk.work,
        )  # fmt: skip

    async def _obey(self, command: object) -> dict[str, object]:
        await self.gate.wait()
        return {}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    with Journal(tmp_path / "journal.db") as journal:
        home = Home(journal)
        async with home.desk.running(None):
            yield home


async def test_it_says_what_the_agent_is_and_stays_listed(home: Home) -> None:
    home.desk.work.lifecycle = "shutting-down"
    await home.farewell.say(END, retire=False)
    (agent,) = await home.desk.operator.agents()
    assert agent.status.lifecycle_action == "shutting-down"


async def test_an_agent_that_was_ordered_to_end_is_listed_no_more(home: Home) -> None:
    await home.farewell.say(END, retire=True)
    assert await home.desk.operator.agents() == []


async def test_the_command_that_ended_it_is_answered(home: Home) -> None:
    command = await home.desk.operator.command(NewCommand(type="agent.shutdown", target="bob"))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(home.commands.run())
        home.commands.offer(command)

        async def begun() -> bool:
            return (await home.desk.operator.get_command(command.id)).state is CommandState.RUNNING

        await until(begun)
        await home.farewell.say(END, retire=True)
        running.cancel()
    settled = await home.desk.operator.get_command(command.id)
    assert (settled.state, settled.result["reason"]) == (CommandState.SUCCEEDED, "enough")


async def test_what_waits_here_and_is_claimed_goes_back_at_once(home: Home) -> None:
    desk = home.desk
    id = await desk.send(to="tag:worker", claimable=True)
    result = await desk.relay.claim(id, desk.claims.request(1))
    assert result.granted and result.delivery is not None
    desk.inbox.offer((await desk.operator.message(id)).message, result.delivery)
    await home.farewell.say(END, retire=False)
    assert (await desk.delivery(id)).state is State.QUEUED


async def test_a_relay_that_is_gone_does_not_hold_the_end_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farewell, "FLUSH_S", 0.05)

    async def gone(agent_id: str, instance_id: str, status: Status) -> None:
        raise RelayUnavailable("gone")

    async def silent(agent_id: str, instance_id: str, status: Status) -> None:
        await asyncio.Event().wait()

    for answer in (gone, silent):
        monkeypatch.setattr(home.desk.relay, "put_status", answer)
        await asyncio.wait_for(home.farewell.say(END, retire=True), 5)
    assert [agent.id for agent in await home.desk.operator.agents()] == ["bob"]
