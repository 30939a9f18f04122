"""Commands and tokens in the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay_runner.errors import RelayNotFound, RelayUnauthorized
from relay_runner.protocol.commands import CommandState, CommandUpdate, NewCommand
from relay_runner.protocol.orders import RUNNING_SLACK_S
from relay_runner.protocol.tokens import TokenGrant
from relay_runner.server.store.tidy import TOKENS_KEPT_S
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


def granted(jti: str, issued_at: float) -> TokenGrant:
    return TokenGrant(
        token="t",
        jti=jti,
        profile_id="p",
        subject="agent:bob",
        scopes=(),
        issued_at=issued_at,
        expires_at=issued_at + TOKENS_KEPT_S,
    )


async def test_a_token_that_ended_long_ago_is_revoked_with_what_came_of_it(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        parent = None
        for number in range(5):
            await keeper.store.put_token(granted(f"t{number}", keeper.clock.now), parent)
            parent = f"t{number}"
            keeper.clock.now += TOKENS_KEPT_S - 1
        await keeper.store.put_token(granted("other", keeper.clock.now - 4 * TOKENS_KEPT_S))
        await keeper.store.tidy()
        assert [info.jti for info in await keeper.store.tokens()] == ["t4", "t3"]
        with pytest.raises(RelayNotFound):
            await keeper.store.revoke_token("other")
        await keeper.store.revoke_token("t0")
        assert not await keeper.store.token_good("t4")
        with pytest.raises(RelayUnauthorized):
            await keeper.store.put_token(granted("t5", keeper.clock.now), "t4")
        keeper.clock.now += 3 * TOKENS_KEPT_S
        await keeper.store.tidy()
        with pytest.raises(RelayNotFound):
            await keeper.store.revoke_token("t0")
