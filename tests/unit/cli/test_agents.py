"""What people see of agents, and what they can do with them."""

from __future__ import annotations

import asyncio
import subprocess
import time

import msgspec
import pytest

from relay_runner import config
from relay_runner.protocol.agents import (
    AgentState,
    HeldMessage,
    Status,
    TimelineEvent,
    Transport,
    TransportState,
    WorkItem,
    WorkKind,
    context,
)
from tests.unit.cli.conftest import World
from tests.unit.cli.test_local import program, save_program

__all__ = ["program"]

SHAPE = {
    "agentId", "provider", "status", "busyReasons", "detail", "ready", "pid", "runnerId", "tmuxSession",
    "tmuxSocket", "sessionId", "model", "effort", "context", "queued", "obligations", "since", "transport", "timeline",
    "spentToday", "held",
}  # fmt: skip


def test_nobody_is_there(world: World) -> None:
    assert world.run("ps") == ("", "relay-runner: no agents: `relay-runner start` starts one\n")
    assert world.json("ps") == []


def test_the_json_shape_is_stable(world: World) -> None:
    bob = world.agent("bob", meta={"tmuxSession": "bob", "tmuxSocket": "/run/bob.sock", "model": "opus"})
    work = WorkItem(kind=WorkKind.TURN, id="t", started_at=100.0, source="hook:x")
    status = Status(
        agent_status=AgentState.BUSY,
        busy_reasons=("provider-turn",),
        active_work=(work,),
        ready=True,
        provider_session_id="s1",
        context=context(50, 200, source="statusline", confidence="reported", at=150.0),
        at=200.0,
        transport=Transport(state=TransportState.CONNECTED, since=50.0),
        timeline=(TimelineEvent(id="e1", kind="provider-started", at=60.0, data={"pid": 7}),),
    )
    asyncio.run(bob.put_status("bob", "i1", status))
    world.send("bob", "waits")
    (row,) = world.json("ps")
    assert set(row) == SHAPE
    assert row | {"runnerId": None} == {
        "agentId": "bob",
        "provider": "demo",
        "status": "busy",
        "busyReasons": ["provider-turn"],
        "detail": None,
        "ready": True,
        "pid": None,
        "runnerId": None,
        "tmuxSession": "bob",
        "tmuxSocket": "/run/bob.sock",
        "sessionId": "s1",
        "model": "opus",
        "effort": None,
        "context": {
            "utilisation": 0.25,
            "tokens": 50,
            "window": 200,
            "lifecycleState": "active",
            "source": "statusline",
            "confidence": "reported",
            "at": 150.0,
        },
        "queued": 1,
        "held": [],
        "spentToday": None,
        "obligations": 0,
        "since": 100.0,
        "transport": {"state": "connected", "since": 50.0, "detail": None},
        "timeline": [{"id": "e1", "kind": "provider-started", "at": 60.0, "data": {"pid": 7}}],
    }


def test_the_table_says_that_only_http_is_left(world: World) -> None:
    bob = world.agent("bob")
    transport = Transport(state=TransportState.HTTP_ONLY, since=50.0)
    status = Status(agent_status=AgentState.IDLE, ready=True, transport=transport)
    asyncio.run(bob.put_status("bob", "i1", status))
    assert "by HTTP" in world.run("ps")[0]


def test_the_table_says_why(world: World) -> None:
    bob = world.agent("bob")
    asyncio.run(
        bob.put_status("bob", "i1", Status(agent_status=AgentState.ERROR, detail="not logged \x1b[5min", at=1.0))
    )
    head, row = world.run("ps")[0].splitlines()
    assert head.split() == ["AGENT", "PROVIDER", "STATUS", "SINCE", "QUEUED", "PID", "WHY"]
    assert row.split()[:3] == ["bob", "demo", "error"] and row.endswith("not logged [5min")


def test_what_cannot_go_in_is_told_with_its_age(world: World) -> None:
    bob = world.agent("bob")
    held = tuple(HeldMessage(message_id=id, reason="person typing", since=time.time() - 125) for id in (41, 42))
    idle = Status(agent_status=AgentState.IDLE, ready=True, held=held, at=1.0)
    asyncio.run(bob.put_status("bob", "i1", idle))
    assert world.run("ps")[0].splitlines()[1].endswith("message 41 is held: person typing (2m), and 1 more")
    busy = msgspec.structs.replace(idle, agent_status=AgentState.BUSY, busy_reasons=("waiting: dialog open",))
    asyncio.run(bob.put_status("bob", "i1", msgspec.structs.replace(busy, held=held[:1])))
    assert "waiting: dialog open; message 41 is held: person typing (2m)" in world.run("ps")[0]
    (row,) = world.json("ps")
    assert row["held"][0]["messageId"] == 41 and row["held"][0]["reason"] == "person typing"


def test_a_program_without_its_runner_is_told(world: World, program: subprocess.Popen[bytes]) -> None:
    save_program(world.paths, "bob", program.pid)
    bob = world.agent("bob")
    asyncio.run(bob.put_status("bob", "i1", Status(agent_status=AgentState.IDLE, ready=True, at=1.0)))
    _, row = world.run("ps")[0].splitlines()
    assert row.split()[:3] == ["bob", "generic", "offline"]
    assert row.endswith("its runner died, its program still runs: `relay-runner start --agent-id bob` adopts it")


def test_logs_are_shown_clean(world: World) -> None:
    folder = config.private_dir(world.paths.agent("bob").root)
    (folder / "runner.log").write_text("one\ntwo \x1b[31m\nthree\n")
    out, err = world.run("logs", "bob", "-n", "2")
    assert out == "two [31m\nthree\n"
    assert err == "relay-runner: bob does not run: `relay-runner start --agent-id bob` starts it\n"
    assert "did you mean bob" in world.run("logs", "bop", code=2)[1]


def test_an_agent_that_does_not_run_cannot_be_attached_to(world: World) -> None:
    config.private_dir(world.paths.agent("bob").root)
    assert "bob does not run: `relay-runner start --agent-id bob`" in world.run("attach", "bob", code=2)[1]


@pytest.mark.parametrize("verb", ["stop", "kill", "restart", "interrupt", "attach", "logs"])
def test_an_agent_cannot_order(world: World, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.INSIDE_VARIABLE, "s")
    assert "an agent cannot" in world.run(verb, "bob", code=2)[1]
