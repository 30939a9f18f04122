"""Commands and tokens in the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay_runner.errors import RelayNotFound
from relay_runner.protocol.commands import CommandState, CommandUpdate, NewCommand
from relay_runner.protocol.orders import RUNNING_SLACK_S
from tests.unit.server.store.world import OPERATOR_CALLER, agent_caller, keeping

pytestmark = pytest.mark.anyio

RESTART = NewCommand(type="agent.restart", target="bob", timeout_s=10, idempotency_key="k")


async def test_the_same_order_at_once_is_one(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        found = await asyncio.gather(*[keeper.store.command(OPERATOR_CALLER, RESTART) for _ in range(5)])
        assert len({command.id for command in found}) == 1
        assert len([change for change in keeper.changes if change.command is not None]) == 1
        assert keeper.changes[-1].target == "bob"


async def test_orders_that_nobody_settles_fail_in_time(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        command = await keeper.store.command(OPERATOR_CALLER, RESTART)
        assert await keeper.store.sweep() == pytest.approx(keeper.clock.now + 10)
        await keeper.store.update_command(agent_caller("bob"), command.id, CommandUpdate(state=CommandState.RUNNING))
        keeper.clock.now += 11
        await keeper.store.sweep()
        assert (await keeper.store.get_command(OPERATOR_CALLER, command.id)).state is CommandState.RUNNING
        keeper.clock.now += RUNNING_SLACK_S
        await keeper.store.sweep()
        failed = await keeper.store.get_command(agent_caller("bob"), command.id)
        assert failed.state is CommandState.FAILED and "answer" in failed.result["reason"]
        assert await keeper.store.commands("bob", pending=True) == []
        assert await keeper.store.commands("bob", pending=False) == [failed]


async def test_an_order_is_not_for_strangers(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        command = await keeper.store.command(OPERATOR_CALLER, RESTART)
        with pytest.raises(RelayNotFound):
            await keeper.store.get_command(agent_caller("eve"), command.id)
