"""Permissions in the store: they outlive it, and the old ones go."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import ClaimLost
from relay_runner.protocol.permissions import (
    Decision,
    NewDecision,
    NewPermission,
    PermissionQuery,
    PermissionState,
    PermissionUpdate,
    Resolution,
)
from relay_runner.server.store.tidy import PERMISSIONS_KEPT_S, STALE_PERMISSIONS_KEPT_S
from tests.unit.server.store.world import OPERATOR_CALLER, Keeper, keeping

pytestmark = pytest.mark.anyio


def asked(id: str, instance_id: str = "one") -> NewPermission:
    return NewPermission(id=id, agent_id="bob", instance_id=instance_id, kind="tool", title="t")


async def ids(keeper: Keeper) -> list[str]:
    return [permission.id for permission in await keeper.store.permissions(PermissionQuery())]


async def test_a_store_that_is_opened_again_has_them(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        await keeper.store.open_permission(asked("p1"))
        decided = await keeper.store.decide(OPERATOR_CALLER, "p1", NewDecision(decision=Decision.DENY, reason="no"))
    async with keeping(tmp_path) as keeper:
        assert await keeper.store.permissions(PermissionQuery(open=True)) == [decided]


async def test_what_changes_nothing_is_no_event(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        for _ in range(2):
            await keeper.store.open_permission(asked("p1"))
            await keeper.store.decide(OPERATOR_CALLER, "p1", NewDecision(decision=Decision.DENY))
        found = [change.permission for change in keeper.changes if change.permission is not None]
        assert [permission.state for permission in found] == [PermissionState.OPEN, PermissionState.DECIDED]


async def test_an_older_instance_asks_nothing(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob", "one")
        await keeper.join("bob", "two")
        with pytest.raises(ClaimLost):
            await keeper.store.open_permission(asked("p1"))


async def test_closed_ones_go_after_a_week_and_forgotten_ones_after_a_month(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        for id in ("closed", "open"):
            await keeper.store.open_permission(asked(id))
        update = PermissionUpdate(agent_id="bob", instance_id="one", resolution=Resolution.WITHDRAWN)
        await keeper.store.update_permission("closed", update)
        keeper.clock.now += PERMISSIONS_KEPT_S - 1
        await keeper.store.tidy()
        assert await ids(keeper) == ["closed", "open"]
        keeper.clock.now += 2
        await keeper.store.tidy()
        assert await ids(keeper) == ["open"]
        keeper.clock.now += STALE_PERMISSIONS_KEPT_S
        await keeper.store.tidy()
        assert await ids(keeper) == []
