from __future__ import annotations

from typing import Any

from relay_runner.providers.base import SubagentEnded, SubagentStarted
from relay_runner.providers.codex.subagents import LOOK_S, SPAWN_S, SubAgents

STATUS = "thread/status/changed"
ACTIVE: dict[str, Any] = {"status": {"type": "active", "activeFlags": []}}
IDLE: dict[str, Any] = {"status": {"type": "idle"}}


def activity(kind: str, id: str = "a", path: str = "/root/helper") -> dict[str, Any]:
    return {"type": "subAgentActivity", "kind": kind, "agentThreadId": id, "agentPath": path}


def spawned() -> SubAgents:
    agents = SubAgents()
    assert agents.item(activity("started"), 1.0) == [SubagentStarted("a", "subAgentActivity", label="helper")]
    assert agents.notice("a", STATUS, IDLE, 1.0) == [], "a fresh thread is told idle first"
    assert agents.notice("a", STATUS, ACTIVE, 1.0) == []
    return agents


def test_it_runs_from_its_spawn_to_its_idle_thread() -> None:
    agents = spawned()
    assert [one.id for one in agents.running] == ["a"] and agents.label("a") == "helper"
    assert agents.notice("a", STATUS, IDLE, 2.0) == [SubagentEnded("a", STATUS)]
    assert agents.running == () and agents.label("a") == "helper"
    assert agents.notice("a", STATUS, ACTIVE, 3.0) == [SubagentStarted("a", STATUS, label="helper")], "a new task"


def test_its_parents_item_ends_it_too_and_once() -> None:
    agents = spawned()
    assert agents.item(activity("completed"), 2.0) == [SubagentEnded("a", "subAgentActivity")]
    assert agents.notice("a", STATUS, IDLE, 2.0) == []


def test_what_it_waits_for_is_known() -> None:
    agents = spawned()
    agents.notice("a", STATUS, {"status": {"type": "active", "activeFlags": ["waitingOnApproval"]}}, 2.0)
    assert agents.flags == ("waitingOnApproval",)
    agents.notice("a", STATUS, IDLE, 3.0)
    assert agents.flags == ()


def test_one_that_vanished_is_looked_at_and_cannot_stick() -> None:
    agents = spawned()
    assert agents.unsure(1.0 + LOOK_S - 0.1) == []
    assert agents.unsure(1.0 + LOOK_S) == ["a"]
    assert agents.look({"id": "a", **ACTIVE}, "a", 7.0) == [], "it does work"
    assert agents.unsure(7.0) == []
    assert agents.look(None, "a", 12.0) == [SubagentEnded("a", "thread")]
    assert agents.look(None, "never heard of", 12.0) == []


def test_one_that_never_began_cannot_stick() -> None:
    agents = SubAgents()
    agents.item(activity("started"), 1.0)
    assert agents.unsure(1.0 + SPAWN_S) == ["a"]
    assert agents.look({"id": "a", **IDLE}, "a", 1.0 + SPAWN_S) == [SubagentEnded("a", "thread")]


def test_a_closed_thread_ends_it() -> None:
    for method, params in (("thread/closed", {}), (STATUS, {"status": {"type": "notLoaded"}})):
        assert spawned().notice("a", method, params, 2.0) == [SubagentEnded("a", method)]


def test_after_a_reconnect_only_what_the_server_has_still_runs() -> None:
    agents = spawned()
    assert agents.only(["main"]) == [SubagentEnded("a", "thread")]
    source = {"subAgent": {"thread_spawn": {"agent_path": "/root/other", "agent_nickname": "Fermat"}}}
    found = {"id": "b", "source": source, **ACTIVE}
    assert agents.look(found, "b", 3.0) == [SubagentStarted("b", "thread", label="other")]
    assert agents.look({"id": "c", "agentNickname": "Fermat", **IDLE}, "c", 3.0) == []
    assert agents.label("c") == "Fermat"


def test_its_turn_is_known_while_it_runs() -> None:
    agents = spawned()
    agents.notice("a", "turn/started", {"turn": {"id": "t"}}, 2.0)
    assert [one.turn_id for one in agents.running] == ["t"]
    agents.notice("a", "turn/completed", {"turn": {"id": "t"}}, 2.0)
    assert [one.turn_id for one in agents.running] == [None]


def test_the_older_way_to_spawn() -> None:
    agents = SubAgents()
    item = {"type": "collabAgentToolCall", "tool": "spawnAgent", "receiverThreadIds": ["x"], "prompt": "do\x1b[2J\nit"}
    assert agents.item(item, 1.0) == [SubagentStarted("x", "collabAgentToolCall", label="do[2J it")]
    assert agents.item({**item, "tool": "wait", "receiverThreadIds": ["y"]}, 1.0) == []


def test_strangers_are_no_sub_agents() -> None:
    assert SubAgents().notice("title", STATUS, ACTIVE, 1.0) == []


def test_another_session_has_none() -> None:
    agents = spawned()
    assert agents.clear() == [SubagentEnded("a", "thread")]
    assert agents.label("a") is None
