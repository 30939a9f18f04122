from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.permissions import AT_THE_TERMINAL
from relay_runner.providers.base import (
    Degraded,
    PermissionAsked,
    PermissionClosed,
    ProcessState,
    StateChanged,
    SubagentEnded,
    SubagentStarted,
    TurnEnded,
    TurnStarted,
    Unusable,
)
from relay_runner.providers.codex import goals, questions, status, subagents
from relay_runner.providers.codex.launch import SOCKET
from relay_runner.providers.codex.link import CUT_OFF_S
from relay_runner.providers.codex.memo import Stage
from tests.contract.providers import launch_spec
from tests.terminals import until
from tests.unit.providers.codex import asks
from tests.unit.providers.codex.place import ACTIVE, Place, watched
from tests.unit.providers.codex.place import place as place
from tests.unit.providers.codex.server import THREAD, listening

pytestmark = pytest.mark.anyio
WAITING = {"type": "active", "activeFlags": ["waitingOnApproval"]}


async def spawn(place: Place, id: str = "child") -> None:
    """Let the agent's turn spawn a sub-agent that works."""
    item = {"type": "subAgentActivity", "kind": "started", "agentThreadId": id, "agentPath": f"/root/{id}"}
    await place.server.tell("item/started", turnId="t1", item=item)
    await place.server.tell("thread/status/changed", threadId=id, status=ACTIVE)
    await place.server.tell("turn/started", threadId=id, turn={"id": f"turn of {id}"})
    await until(lambda: bool(place.told(SubagentStarted)))
    place.server.threads[id] = {"id": id, "parentThreadId": THREAD, "status": ACTIVE}


async def test_what_it_does_not_know_is_refused_where_nobody_sits(place: Place) -> None:
    await place.server.ask(5, "item/new/requestApproval")
    await until(lambda: bool(place.server.said))
    (said,) = place.server.said
    assert said["id"] == 5 and "does not know item/new/requestApproval" in said["error"]["message"]


async def test_what_it_does_not_know_is_left_to_the_person_who_sits_there(tmp_path: Path) -> None:
    async with listening(launch_spec(tmp_path).agent_dir / SOCKET) as server, watched(tmp_path, headless=False) as made:
        await made.process.ready()
        await server.ask(5, "item/new/requestApproval")
        await until(lambda: bool(made.told(PermissionAsked)))
        (told,) = made.told(PermissionAsked)
        assert (told.kind, told.title, told.decisions) == ("other", "item/new/requestApproval", ())
        assert told.note == AT_THE_TERMINAL
        await server.resolve(5)
        await until(lambda: bool(made.told(PermissionClosed)))
        assert not server.said


async def test_a_turn_ends_with_its_sub_agents(place: Place) -> None:
    await place.begins("n1")
    await spawn(place)
    await place.server.tell("thread/status/changed", status={"type": "idle"})
    await place.server.tell("turn/completed", turn={"id": "t1", "status": "completed", "items": []})
    await until(lambda: place.process._link.tracker.only_agents)
    assert not place.told(TurnEnded) and place.process.state is ProcessState.BUSY
    assert (await place.process.find("n1")).outcome is None
    await place.server.tell("thread/status/changed", threadId="child", status={"type": "idle"})
    await until(lambda: place.process.state is ProcessState.IDLE)
    assert [(event.nonces, event.outcome) for event in place.told(TurnEnded)] == [(("n1",), Outcome.COMPLETED)]
    kinds = [type(event) for event in place.events if not isinstance(event, StateChanged)]
    assert kinds.index(SubagentEnded) < kinds.index(TurnEnded)


async def test_a_session_that_was_entered_is_asked_for_its_goal_and_its_sub_agents(place: Place) -> None:
    other = "01a1fb2e-0000-7000-8000-00000000cafe"
    assert place.process._link.session is not None
    place.process._link.session.methods = frozenset({goals.GET, "thread/resume"})
    place.server.answers[goals.GET] = lambda params: {"goal": {"status": goals.ACTIVE}}
    place.server.threads["child"] = {"id": "child", "parentThreadId": other, "status": ACTIVE}
    await place.process.operate("resume", {"sessionId": other})
    await until(lambda: [event.id for event in place.told(SubagentStarted)] == ["child"])
    await until(lambda: (goals.GET, {"threadId": other}) in place.server.calls)
    await until(place.process._link.goal.wait_for)


async def test_a_new_turn_ends_the_one_that_waited_for_sub_agents(place: Place) -> None:
    await place.begins("n1")
    await spawn(place)
    await place.server.tell("turn/completed", turn={"id": "t1", "status": "completed", "items": []})
    await place.server.tell("turn/started", turn={"id": "t2"})
    await until(lambda: len(place.told(TurnStarted)) == 2)
    assert [event.nonces for event in place.told(TurnEnded)] == [("n1",)]


async def test_a_failed_turn_does_not_wait_for_sub_agents(place: Place) -> None:
    await place.begins("n1")
    await spawn(place)
    await place.server.tell("turn/completed", turn={"id": "t1", "status": "failed", "items": []})
    await until(lambda: bool(place.told(TurnEnded)))
    assert place.told(TurnEnded)[0].outcome is Outcome.FAILED and place.process.state is ProcessState.BUSY


async def test_a_sub_agent_that_vanished_does_not_stick(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subagents, "LOOK_S", 0.0)
    await place.begins("n1")
    await spawn(place)
    del place.server.threads["child"]
    await until(lambda: place.told(SubagentEnded) == [SubagentEnded("child", "thread")])


async def test_a_turn_of_which_every_end_was_lost_does_not_stick(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.begins("n1")
    monkeypatch.setattr(status, "QUIET_S", 0.0)
    monkeypatch.setattr(status, "NO_END_S", 0.0)
    place.server.turns = [{"id": "t1", "status": "completed", "items": [{"type": "agentMessage", "text": "found"}]}]
    place.server.status = {"type": "idle"}
    await until(lambda: place.process.state is ProcessState.IDLE)
    assert [(event.nonces, event.result) for event in place.told(TurnEnded)] == [(("n1",), "found")]


async def test_a_busy_thread_without_a_turn_does_not_stick(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "QUIET_S", 0.0)
    await place.server.tell("thread/status/changed", status=WAITING)
    await until(lambda: any(isinstance(event, StateChanged) and event.detail for event in place.events))
    await until(lambda: place.process.state is ProcessState.IDLE)


async def test_a_thread_that_vanished_is_loaded_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "QUIET_S", 0.0)
    place.server.answers["thread/read"] = lambda params: "thread not found"
    await place.server.tell("thread/status/changed", status=ACTIVE)
    await until(lambda: bool(place.server.called("thread/resume")))


async def test_a_sub_agents_question_is_told_and_waits(place: Place) -> None:
    await place.begins(None)
    await spawn(place)
    await place.server.tell("thread/status/changed", threadId="child", status=WAITING)
    await place.server.ask(0, questions.COMMAND, **{**asks.COMMAND, "threadId": "child"})
    await until(lambda: bool(place.told(PermissionAsked)))
    assert place.process.state is ProcessState.WAITING
    assert "asked by the sub-agent child" in str(place.told(PermissionAsked)[0].detail)


async def test_interrupting_stops_sub_agents_too(place: Place) -> None:
    stopped: list[tuple[str, str]] = []

    def interrupt(params: dict[str, str]) -> dict[str, object]:
        stopped.append((params["threadId"], params["turnId"]))
        return {}

    place.server.answers["turn/interrupt"] = interrupt
    await place.begins("n1")
    await spawn(place)
    await place.server.tell("turn/completed", turn={"id": "t1", "status": "completed", "items": []})
    await place.server.tell("thread/status/changed", status={"type": "idle"})
    await until(lambda: place.process._link.tracker.only_agents)

    async with asyncio.TaskGroup() as group:
        group.create_task(place.process.interrupt())
        await until(lambda: bool(stopped))
        await place.server.tell("thread/status/changed", threadId="child", status={"type": "idle"})
    assert stopped[0] == ("child", "turn of child")
    cleaned = [params["threadId"] for name, params in place.server.calls if name == "thread/backgroundTerminals/clean"]
    assert cleaned == [THREAD, "child"]


async def test_a_reconnect_finds_sub_agents_that_run_and_those_that_do_not(place: Place) -> None:
    await place.begins("n1")
    await spawn(place)
    place.server.threads = {"other": {"id": "other", "parentThreadId": THREAD, "status": ACTIVE}}
    place.server.status = ACTIVE
    await place.server.hang_up()
    await until(lambda: len(place.told(SubagentStarted)) == 2)
    assert [event.id for event in place.told(SubagentStarted)] == ["child", "other"]
    assert [event.id for event in place.told(SubagentEnded)] == ["child"]


async def test_a_server_that_lives_without_its_socket_is_unusable_and_told_once(tmp_path: Path) -> None:
    async with watched(tmp_path, adopted=True) as made:
        link = made.process._link
        for at in (0.0, CUT_OFF_S, CUT_OFF_S + 0.1, CUT_OFF_S * 2, CUT_OFF_S * 9):
            link._cut_off(1e9 + at)  # later than what the link itself found
        assert len(made.told(Unusable)) == 1


async def test_one_that_has_not_listened_yet_or_is_dead_or_is_ending_is_not(tmp_path: Path) -> None:
    async with watched(tmp_path) as made:
        for at in (0.0, 100.0):
            made.process._link._cut_off(1e9 + at)
        assert not made.told(Unusable), "it may only be slow to start"
    async with watched(tmp_path, adopted=True) as made:
        made.pane.living = False
        for at in (0.0, 100.0):
            made.process._link._cut_off(1e9 + at)
        assert not made.told(Unusable)
        made.pane.living = True
        made.process._link.become(Stage.STOPPING)
        for at in (0.0, 100.0):
            made.process._link._cut_off(1e9 + at)
        assert not made.told(Unusable)


async def test_a_socket_that_is_removed_under_a_good_connection_is_told_once(place: Place) -> None:
    (place.process._spec.agent_dir / SOCKET).unlink()
    for _ in range(3):
        await place.server.tell("thread/status/changed", status=ACTIVE)
        await place.server.tell("thread/status/changed", status={"type": "idle"})
    await until(lambda: bool(place.told(Degraded)))
    assert [told.reason for told in place.told(Degraded)] == [
        "codex: its socket was removed, so attach cannot show it; restart it"
    ]
    assert place.process.state is ProcessState.IDLE
