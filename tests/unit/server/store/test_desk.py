"""What the store keeps beside messages: who asks is passed on, and what is asked comes from the right thread."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import RelayNotFound, RelayUnauthorized
from relay_runner.protocol.access import Caller
from relay_runner.protocol.commands import NewCommand, NewTask, TaskQuery
from relay_runner.protocol.messages import MessageQuery, NewMessage
from relay_runner.protocol.permissions import NewPermission, PermissionQuery
from relay_runner.protocol.tokens import TokenGrant
from relay_runner.server.store import orders
from tests.unit.server.store.world import OPERATOR_CALLER, agent_caller, keeping

pytestmark = pytest.mark.anyio


async def test_everything_has_its_place_and_strangers_see_nothing_of_it(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        store, eve = keeper.store, agent_caller("eve")
        await keeper.join("bob")
        command = await store.command(OPERATOR_CALLER, NewCommand(type="agent.kill", target="bob"))
        task = await store.create_task(OPERATOR_CALLER, NewTask(subject="s"))
        asked = NewPermission(id="p1", agent_id="bob", instance_id="one", kind="tool", title="t")
        permission = await store.open_permission(asked)
        assert await store.commands("bob", pending=True) == [command]
        assert await store.tasks(OPERATOR_CALLER, TaskQuery()) == [task]
        assert await store.permissions(PermissionQuery(agent_id="bob")) == [permission]
        for call in (store.get_command(eve, command.id), store.get_task(eve, task.id), store.permission(eve, "p1")):
            with pytest.raises(RelayNotFound):
                await call
        assert await store.tasks(eve, TaskQuery()) == []


async def test_a_token_is_good_from_its_making_to_its_revocation(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        grant = TokenGrant(
            token="t", jti="j", profile_id="p", subject="person:op", scopes=(), issued_at=1.0, expires_at=2.0
        )
        assert not await keeper.store.token_good("j")
        await keeper.store.put_token(grant)
        assert await keeper.store.token_good("j")
        await keeper.store.revoke_token("j")
        assert not await keeper.store.token_good("j")


async def test_every_act_asks_for_a_good_token_in_its_own_transaction(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        now = keeper.clock.now
        grant = TokenGrant(
            token="t", jti="j", profile_id="p", subject="person:op", scopes=(), issued_at=now, expires_at=now + 10
        )
        await keeper.store.put_token(grant)
        caller = Caller("person:op", OPERATOR_CALLER.scopes, "j", "p", now, now + 10)
        store, patient = keeper.store.under(caller), keeper.store.under(caller, 600.0)
        letter = NewMessage(to="person:ann", body="x")
        await store.accept(caller, letter)
        keeper.clock.now += 10
        for outlived in (store.accept(caller, letter), store.records(caller, MessageQuery())):
            with pytest.raises(RelayUnauthorized, match="expired"):
                await outlived
        await patient.accept(caller, letter)
        keeper.store._writer.ask(lambda tx: orders.revoke_token(tx, "j"))  # asked before, and not done yet
        with pytest.raises(RelayUnauthorized, match="revoked"):
            await patient.accept(caller, letter)
        with pytest.raises(RelayUnauthorized, match="revoked"):
            await patient.records(caller, MessageQuery())
        assert len(await keeper.store.records(caller, MessageQuery())) == 2
