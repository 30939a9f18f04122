"""What the relay is told, when it says no and when it is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay_runner.protocol.permissions import Decision, NewPermission, PermissionQuery, PermissionState
from relay_runner.providers.base import PermissionAsked, PermissionClosed
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.bell import Bell
from relay_runner.runner.identity import Identity
from relay_runner.runner.options import RunnerOptions
from relay_runner.runner.permission_reports import PermissionReports
from relay_runner.runner.questions import Questions
from tests.contract.relays import hello

pytestmark = pytest.mark.anyio


async def test_what_the_relay_refuses_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    operator = MemoryRelay()
    relay = MemoryRelay.of_agent("bob", operator.hub)
    identity = Identity(RunnerOptions(agent_id="bob", provider="scripted", cwd=tmp_path), None)
    table = Questions("bob", identity.instance_id, deadline_s=9, headless=False)
    bell, joined, ready = Bell(), asyncio.Event(), asyncio.Event()
    reports = PermissionReports(
        relay, table, identity, bell, joined=joined, ready=ready, on_answer=lambda frame: None, on_change=bell.ring
    )
    eve = MemoryRelay.of_agent("eve", operator.hub)
    async with (
        eve.connect(hello("eve")),
        relay.connect(hello("bob", identity.instance_id)),
        asyncio.TaskGroup() as group,
    ):
        await eve.open_permission(NewPermission(id="p1", agent_id="eve", instance_id="one", kind="tool", title="t"))
        running = group.create_task(reports.run())
        for id in ("p1", "p2"):
            table.ask(PermissionAsked(id, "tool", "mine", "script"), 0.0)
        bell.ring()
        await asyncio.sleep(0)
        assert len(await operator.permissions(PermissionQuery())) == 1
        joined.set()
        table.closed(PermissionClosed("p2", "script", decision=Decision.DENY))
        bell.ring()
        assert await reports.flushed(10)
        found = {one.id: (one.agent_id, one.state) for one in await operator.permissions(PermissionQuery())}
        assert found == {"p1": ("eve", PermissionState.OPEN), "p2": ("bob", PermissionState.CLOSED)}
        assert [entry.id for entry in table.all()] == ["p1"]
        running.cancel()
