"""Commands and the last words, put together; what they do is in `test_commands`, `test_orders` and `test_farewell`."""

import asyncio
from pathlib import Path

import pytest

from relay_runner.config import AgentPaths
from relay_runner.protocol.commands import CommandState, NewCommand
from relay_runner.providers.base import Capabilities
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.delivering import Delivering
from relay_runner.runner.journal import Journal
from relay_runner.runner.options import RunnerExit, RunnerOptions
from relay_runner.runner.ordering import Ordering
from relay_runner.runner.permissions import Permissions
from relay_runner.runner.supervisor import Supervisor
from tests.terminals import until
from tests.unit.runner.desk import Desk
from tests.unit.runner.test_commands import identity_of
from tests.unit.runner.test_orders import Crew

pytestmark = pytest.mark.anyio


class Bureau(Crew):
    """The supervisor's side of the orders."""

    async def attended(self) -> bool:
        return False


def _ordering(desk: Desk, folder: Path) -> Ordering:
    identity, publish = identity_of("bob", desk.instance_id), desk.presence.publish
    options = RunnerOptions(agent_id="bob", provider="scripted", cwd=folder)
    delivering = Delivering(
        desk.relay, desk.journal, options=options, identity=identity, paths=AgentPaths(folder), work=desk.work,
        capabilities=Capabilities(), joined=desk.joined, process=lambda: None, publish=publish,
    )  # fmt: skip
    delivering.receipts._empty.set()
    permissions = Permissions(
        desk.relay, desk.journal, identity, desk.work, deadline_s=1.0, headless=True, joined=desk.joined,
        process=lambda: None, publish=publish,
    )  # fmt: skip
    supervisor: Supervisor = Bureau()  # type: ignore[assignment]
    return Ordering(
        desk.relay, desk.journal, identity=identity, work=desk.work, joined=desk.joined, presence=desk.presence,
        supervisor=supervisor, permissions=permissions, delivering=delivering,
    )  # fmt: skip


async def test_what_came_while_nobody_listened_is_done_and_an_ordered_end_retires_the_agent(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        desk = Desk(journal, MemoryRelay())
        ordering = _ordering(desk, tmp_path)
        async with desk.running(None), asyncio.TaskGroup() as group:
            waits = await desk.operator.command(NewCommand(type="agent.restart", target="bob"))
            running = group.create_task(ordering.run())

            async def done() -> bool:
                return (await desk.operator.get_command(waits.id)).state is CommandState.SUCCEEDED

            await until(done)
            await ordering.part(RunnerExit(0, "enough"))
            assert [agent.id for agent in await desk.operator.agents()] == ["bob"]
            ordering.offer(await desk.operator.command(NewCommand(type="agent.shutdown", target="bob")))
            await until(lambda: ordering._orders.retiring)
            await ordering.part(RunnerExit(0, "enough"))
            assert await desk.operator.agents() == []
            running.cancel()


async def test_a_runner_that_never_joined_says_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        desk = Desk(journal, MemoryRelay())
        await asyncio.wait_for(_ordering(desk, tmp_path).part(RunnerExit(1, "no relay")), 5)
        assert await desk.operator.agents() == []
