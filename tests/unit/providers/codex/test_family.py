from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay_runner.providers.base import Event, SubagentEnded, SubagentStarted
from relay_runner.providers.codex import family
from relay_runner.providers.codex.client import opened
from relay_runner.providers.codex.subagents import SubAgents
from tests.unit.providers.codex.place import ACTIVE
from tests.unit.providers.codex.server import THREAD, listening

pytestmark = pytest.mark.anyio


def thread(id: str, above: str | None, status: dict[str, Any] | None = None) -> dict[str, Any]:
    source = {"subAgent": {"thread_spawn": {"agent_path": f"/root/{id}"}}}
    return {"id": id, "parentThreadId": above, "source": source, "status": status or ACTIVE}


async def joined(
    tmp_path: Path, *threads: dict[str, Any], known: SubAgents | None = None
) -> tuple[list[Event], list[str]]:
    """Return what is told, and whom it subscribed to."""
    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", print, pytest.fail) as client:
        server.threads = {one["id"]: one for one in threads}
        told = await family.join(client, THREAD, known or SubAgents())
        return [event for events in told for event in events], [
            params["threadId"] for name, params in server.calls if name == "thread/resume"
        ]


async def test_every_generation_is_found_and_subscribed_to(tmp_path: Path) -> None:
    told, subscribed = await joined(
        tmp_path, thread("grandchild", "child"), thread("title", None), thread("child", THREAD), thread("x", "title")
    )
    assert told == [
        SubagentStarted("child", "thread", label="child"),
        SubagentStarted("grandchild", "thread", label="grandchild"),
    ]
    assert subscribed == ["child", "grandchild"]


async def test_one_that_is_gone_has_ended(tmp_path: Path) -> None:
    agents = SubAgents()
    agents.look(thread("gone", THREAD), "gone", 1.0)
    told, subscribed = await joined(tmp_path, thread("idle", THREAD, {"type": "idle"}), known=agents)
    assert told == [SubagentEnded("gone", "thread")]
    assert subscribed == ["idle"], "it may be given something to do again"


async def test_its_turn_is_asked_for_where_it_is_not_known(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", print, pytest.fail) as client:
        agents = SubAgents()
        agents.look(thread("a", THREAD), "a", 1.0)
        server.turns = [{"id": "t9", "status": "inProgress"}]
        assert await family.turn(client, agents.running[0]) == "t9"
        server.turns = []
        assert await family.turn(client, agents.running[0]) == "t9"


def test_a_thread_is_born_into_the_family_or_not() -> None:
    agents = SubAgents()
    assert family.born(thread("a", THREAD), THREAD, agents, 1.0) == [SubagentStarted("a", "thread", label="a")]
    assert family.born(thread("b", "a"), THREAD, agents, 1.0) == [SubagentStarted("b", "thread", label="b")]
    assert family.born(thread("c", "title"), THREAD, agents, 1.0) == []
    assert family.born(thread("d", None), THREAD, agents, 1.0) == []
    assert family.parent(None) is None
