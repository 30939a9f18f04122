from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relay_runner.errors import ProviderExited, ProviderNotReady, ProviderRefused, ProviderUnsupported
from relay_runner.protocol.envelope import render
from relay_runner.protocol.messages import Outcome, Timing
from relay_runner.providers.base import (
    Degraded,
    Held,
    HookCall,
    Learnt,
    ProcessState,
    Seen,
    SessionLost,
    SessionStarted,
    Submission,
    Submitted,
    TurnEnded,
    TurnState,
    Uncertain,
)
from relay_runner.providers.codex import process as module
from relay_runner.providers.codex.launch import SOCKET
from relay_runner.terminal.base import ExitStatus
from tests.contract.providers import launch_spec, submission
from tests.terminals import until
from tests.unit.providers.codex.place import Place, watched
from tests.unit.providers.codex.place import place as place
from tests.unit.providers.codex.server import THREAD, FakeServer, listening

pytestmark = pytest.mark.anyio


def timed(one: Submission, timing: Timing) -> Submission:
    message = msgspec.structs.replace(one.message, timing=timing)
    return Submission(message, one.nonce, render(message, one.nonce))


async def test_it_waits_for_the_server_and_tells_its_session(tmp_path: Path) -> None:
    async with watched(tmp_path) as made:
        assert made.process.state is ProcessState.STARTING
        assert made.process.viewer == ()
        async with listening(launch_spec(tmp_path).agent_dir / SOCKET):
            await made.process.ready()
            assert [(event.session_id, event.source) for event in made.told(SessionStarted)] == [(THREAD, "start")]
            assert made.process.state is ProcessState.IDLE
            assert made.process.viewer[-1] == THREAD


async def test_a_server_that_ended_says_its_last_word(tmp_path: Path) -> None:
    async with watched(tmp_path) as made:
        made.pane.living = False
        with pytest.raises(ProviderExited, match=r"spawn-failed: .*the last word"):
            await made.process.ready()


async def test_a_server_that_does_not_come_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_S", 0.0)
    async with watched(tmp_path) as made:
        with pytest.raises(ProviderNotReady, match="did not become ready"):
            await made.process.ready()


async def test_what_a_person_has_to_do_first_ends_the_start(tmp_path: Path) -> None:
    async with listening(launch_spec(tmp_path).agent_dir / SOCKET) as server, watched(tmp_path) as made:
        server.answers["account/read"] = lambda params: {"account": None, "requiresOpenaiAuth": True}
        with pytest.raises(ProviderNotReady, match="not logged in"):
            await made.process.ready()


async def test_a_server_that_answers_in_another_shape_ends_the_start(tmp_path: Path) -> None:
    async with listening(launch_spec(tmp_path).agent_dir / SOCKET) as server, watched(tmp_path) as made:
        server.answers["thread/start"] = lambda params: {"thread": None}
        with pytest.raises(ProviderNotReady, match="response-invalid"):
            await made.process.ready()


async def test_another_agents_words_are_context_and_an_operators_the_prompt(place: Place) -> None:
    peer = submission("hello", operator=False)
    assert await place.process.submit(peer) == Submitted("turn/start")
    (params,) = place.server.called("turn/start")
    assert params["clientUserMessageId"] == peer.nonce
    assert params["additionalContext"]["relay_message"] == {
        "kind": "untrusted", "name": "relay_message", "value": peer.text,
    }  # fmt: skip
    assert peer.text not in str(params["input"])
    assert place.process.state is ProcessState.BUSY
    await place.begins(peer.nonce)
    await place.ends()
    person = submission("hello")
    place.server.answers["turn/start"] = lambda params: {"turn": {"id": "t2"}}
    await place.process.submit(person)
    params = place.server.called("turn/start")[-1]
    assert params["input"] == [{"type": "text", "text": person.text}] and "additionalContext" not in params


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"data": [{"skills": [{"name": "deploy"}]}]}, "\uff04deploy $HOME"),
        ("unknown variant", "\uff04deploy \uff04HOME"),
    ],
)
async def test_a_peers_mention_of_a_skill_is_defused_in_the_prompt(
    place: Place, answer: dict[str, Any] | str, shown: str
) -> None:
    place.server.answers["skills/list"] = lambda params: answer
    await place.process.submit(submission("$deploy $HOME " + "x" * 4000, operator=False))
    (params,) = place.server.called("turn/start")
    assert shown in params["input"][0]["text"]


async def test_what_the_context_would_cut_goes_into_the_prompt(place: Place) -> None:
    one = submission("x" * 4000, operator=False)
    await place.process.submit(one)
    (params,) = place.server.called("turn/start")
    assert params["input"] == [{"type": "text", "text": one.text}] and "additionalContext" not in params


async def test_an_answer_without_a_turn_leaves_it_open_whether_it_entered(place: Place) -> None:
    place.server.answers["turn/start"] = lambda params: {"turn": None}
    result = await place.process.submit(submission("hello"))
    assert isinstance(result, Uncertain) and result.reason.startswith("response-invalid: ")


async def test_evidence_and_end_come_from_the_notifications(place: Place) -> None:
    one = submission("hello")
    await place.process.submit(one)
    await place.begins(one.nonce)
    assert (await place.process.find(one.nonce)).turn is TurnState.RUNNING
    await place.ends()
    assert [event.nonce for event in place.told(Seen)] == [one.nonce]
    assert [(event.nonces, event.outcome) for event in place.told(TurnEnded)] == [((one.nonce,), Outcome.COMPLETED)]


async def test_other_threads_are_not_ours(place: Place) -> None:
    (connection,) = place.server.connections
    await connection.send('{"method":"turn/started","params":{"threadId":"other","turn":{"id":"x"}}}')
    await place.begins(None)
    assert len(place.told(SessionStarted)) == 1
    await place.ends()
    assert [event.nonces for event in place.told(TurnEnded)] == [()]


async def test_a_busy_server_takes_what_steers_and_nothing_else(place: Place) -> None:
    await place.begins(None)
    one = submission("now")
    assert isinstance(await place.process.obstacle(one), Held)
    assert isinstance(await place.process.submit(one), Held)
    place.server.answers["turn/steer"] = lambda params: {"turnId": "t1"}
    assert await place.process.submit(timed(one, Timing.STEER)) == Submitted("turn/steer")
    (params,) = place.server.called("turn/steer")
    assert (params["expectedTurnId"], params["clientUserMessageId"]) == ("t1", one.nonce)


@pytest.mark.parametrize("text", ["no active turn to steer", "cannot steer a compact turn"])
async def test_what_cannot_be_steered_is_held(place: Place, text: str) -> None:
    await place.begins(None)
    place.server.answers["turn/steer"] = lambda params: text
    assert isinstance(await place.process.submit(timed(submission("now"), Timing.STEER)), Held)


async def test_a_turn_that_a_person_began_meanwhile_was_steered(place: Place) -> None:
    (connection,) = place.server.connections
    item = {"type": "userMessage", "clientId": None}
    frames = [
        {"method": "turn/started", "params": {"threadId": THREAD, "turn": {"id": "t1"}}},
        {"method": "item/started", "params": {"threadId": THREAD, "turnId": "t1", "item": item}},
    ]

    async def begin_first(id: int) -> None:
        for frame in (*frames, {"id": id, "result": {"turn": {"id": "t1"}}}):
            await connection.send(json.dumps(frame))

    place.server.answers["turn/start"] = lambda params: None
    async with asyncio.TaskGroup() as group:
        submitting = group.create_task(place.process.submit(submission("late")))
        await until(lambda: bool(place.server.called("turn/start")))
        await begin_first(len(place.server.calls))
    assert submitting.result() == Submitted("turn/start, steered")


async def test_an_open_question_holds_everything(place: Place) -> None:
    await place.server.tell("thread/status/changed", status={"type": "active", "activeFlags": ["waitingOnApproval"]})
    await until(lambda: place.process.state is ProcessState.WAITING)
    assert await place.process.submit(timed(submission("now"), Timing.STEER)) == Held("dialog open")


async def test_refused_for_good_unloaded_and_not_steerable(place: Place) -> None:
    place.server.answers["turn/start"] = lambda params: "Input exceeds the maximum length"
    with pytest.raises(ProviderRefused, match="maximum length"):
        await place.process.submit(submission("x"))
    place.server.answers["turn/start"] = lambda params: "failed: ActiveTurnNotSteerable { turn_kind: Compact }"
    assert await place.process.submit(submission("x")) == Held("compacting or reviewing")
    place.server.answers["turn/start"] = lambda params: f"thread not found: {THREAD}"
    assert isinstance(await place.process.submit(submission("x")), Held)
    await until(lambda: bool(place.server.called("thread/resume")))


async def test_a_broken_connection_leaves_it_open_and_is_made_again(place: Place) -> None:
    one = submission("x")
    place.server.answers["turn/start"] = lambda params: None
    place.process._link.session.context = False  # type: ignore[union-attr]

    async def break_it() -> None:
        await until(lambda: bool(place.server.called("turn/start")))
        await place.server.hang_up()

    async with asyncio.TaskGroup() as group:
        submitting = group.create_task(place.process.submit(one))
        group.create_task(break_it())
    assert isinstance(submitting.result(), Uncertain)
    place.server.answers["turn/start"] = FakeServer().answers["turn/start"]
    place.server.turns = [
        {"id": "t1", "status": "completed", "items": [{"type": "userMessage", "clientId": one.nonce}]}
    ]
    found = await place.process.find(one.nonce)
    assert (found.seen, found.outcome) == (True, Outcome.COMPLETED)
    assert len(place.server.called("thread/resume")) == 1
    assert len(place.told(SessionStarted)) == 1, "the same session goes on"
    assert Degraded(None) in place.events


async def test_a_lost_end_is_looked_up(place: Place) -> None:
    one = submission("x")
    await place.process.submit(one)
    await place.begins(one.nonce)
    place.server.turns = [
        {"id": "t1", "status": "completed", "items": [{"type": "agentMessage", "text": "found"}]},
    ]
    await place.server.tell("thread/status/changed", status={"type": "idle"})
    await until(lambda: bool(place.told(TurnEnded)))
    assert place.told(TurnEnded)[0].result == "found"


async def test_interrupting_cleans_up_what_runs_in_the_background(place: Place) -> None:
    await place.process.interrupt()
    assert not place.server.called("turn/interrupt"), "nothing runs"
    await place.begins(None)
    tries: list[str] = []

    def refuse_once(params: dict[str, Any]) -> Any:
        tries.append(params["turnId"])
        return "no active turn to interrupt" if len(tries) == 1 else {}

    place.server.answers["turn/interrupt"] = refuse_once

    async def end_it() -> None:
        await until(lambda: len(tries) == 2)
        await place.ends("interrupted")

    async with asyncio.TaskGroup() as group:
        group.create_task(end_it())
        await place.process.interrupt()
    assert len(place.server.called("thread/backgroundTerminals/clean")) == 1


async def test_a_turn_that_does_not_stop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERRUPT_S", 0.0)
    place.server.answers["turn/interrupt"] = lambda params: {}
    await place.begins(None)
    with pytest.raises(ProviderRefused, match="did not stop"):
        await place.process.interrupt()


async def test_what_it_does_not_do(place: Place) -> None:
    with pytest.raises(ProviderUnsupported):
        await place.process.operate("compact", {})
    assert (await place.process.hook(HookCall("Stop", {}, asyncio.Event()))).status == 404
    assert place.process.explain_exit(ExitStatus(0), None) == "Codex ended (exit code 0)"


async def test_a_lost_session_is_told_and_remembered(tmp_path: Path) -> None:
    async with listening(launch_spec(tmp_path).agent_dir / SOCKET) as server:
        server.answers["thread/resume"] = lambda params: "no rollout found for thread id x"
        async with watched(tmp_path, session="01a1fb2e-0000-7000-8000-00000000dead") as made:
            await made.process.ready()
            kinds = [type(event) for event in made.events if isinstance(event, SessionLost | SessionStarted)]
            assert kinds == [SessionLost, SessionStarted]
            assert life(made)["lostSessions"] == ["01a1fb2e-0000-7000-8000-00000000dead"]


def life(place: Place) -> dict[str, Any]:
    told = [event.values["appServer"] for event in place.told(Learnt) if "appServer" in event.values]
    return dict(told[-1])


async def test_the_stages_of_the_server_are_told_with_the_last_error(tmp_path: Path) -> None:
    async with watched(tmp_path) as made:
        await until(lambda: bool(made.told(Learnt)))
        assert life(made)["stage"] == "starting"
        async with listening(launch_spec(tmp_path).agent_dir / SOCKET) as server:
            await made.process.ready()
            assert life(made)["stage"] == "ready" and life(made)["readyAt"] >= life(made)["startedAt"]
            await server.hang_up()
        await until(lambda: life(made)["stage"] == "degraded")
        assert "does not answer" in life(made)["error"]
        async with listening(launch_spec(tmp_path).agent_dir / SOCKET):
            await until(lambda: life(made)["stage"] == "ready")
        made.pane.living = False
        await made.process.quit()
        assert life(made)["stage"] == "stopping"
    assert life(made)["stage"] == "stopped"


async def test_a_message_waits_while_an_operation_has_the_thread(place: Place) -> None:
    place.server.answers["thread/compact/start"] = lambda params: {}
    compacting = asyncio.create_task(place.process.operate("compact", {}))
    await until(lambda: bool(place.server.called("thread/compact/start")))
    assert await place.process.obstacle(submission("x")) == Held("compacting", retry_s=0.5)
    assert await place.process.submit(submission("x")) == Held("compacting", retry_s=0.5)
    await place.server.tell("turn/started", turn={"id": "c1"})
    await place.server.tell("turn/completed", turn={"id": "c1", "status": "completed", "items": []})
    assert (await compacting)["outcome"] == "completed"
    assert isinstance(await place.process.submit(submission("x")), Submitted)


async def test_what_the_next_turn_is_given_goes_in_with_it_and_is_used_up(place: Place) -> None:
    await place.process.operate("outputSchema", {"schema": {"type": "object"}})
    for turn in ("t1", "t2"):
        place.server.answers["turn/start"] = lambda params, turn=turn: {"turn": {"id": turn}}
        one = submission("x")
        await place.process.submit(one)
        await place.begins(one.nonce, turn)
        await place.ends(turn=turn)
    first, second = place.server.called("turn/start")[-2:]
    assert (first["outputSchema"], "outputSchema" in second) == ({"type": "object"}, False)


async def test_who_looks_is_shown_the_session_that_an_operation_chose(place: Place) -> None:
    place.server.answers["thread/start"] = lambda params: {"thread": {"id": "another", "status": {"type": "idle"}}}
    await place.process.operate("usage", {})
    assert place.pane.shown == []
    await place.process.operate("clear", {})
    assert [viewer[-1] for viewer in place.pane.shown] == ["another"] == [place.process.viewer[-1]]


async def test_an_interrupt_waits_for_the_message_that_the_turn_is_about_to_be_given(place: Place) -> None:
    place.server.answers["turn/interrupt"] = lambda params: {}
    one = submission("x")
    assert isinstance(await place.process.submit(one), Submitted)
    stopping = asyncio.create_task(place.process.interrupt())
    await place.server.tell("turn/started", turn={"id": "t1"})
    await until(lambda: place.process.state is ProcessState.BUSY)
    assert not place.server.called("turn/interrupt")
    await place.server.tell("item/started", turnId="t1", item={"type": "userMessage", "clientId": one.nonce})
    await until(lambda: bool(place.server.called("turn/interrupt")))
    await place.ends("interrupted")
    await stopping
    assert [event.nonces for event in place.told(TurnEnded)] == [(one.nonce,)]


async def test_nothing_entered_where_the_connection_broke_before_the_interrupt_was_answered(place: Place) -> None:
    await place.begins("other")
    place.server.answers["turn/interrupt"] = lambda params: None
    async with asyncio.TaskGroup() as group:
        submitting = group.create_task(place.process.submit(timed(submission("now"), Timing.INTERRUPT)))
        await until(lambda: bool(place.server.called("turn/interrupt")))
        await place.server.hang_up()
        assert isinstance(await submitting, Held)
    assert place.server.called("turn/start") == []


async def test_a_notification_of_another_shape_is_left_out(place: Place) -> None:
    await place.server.tell("turn/started", turn=None)
    await place.server.tell("thread/status/changed", status=["active"])
    await place.begins("n1")
    await place.ends()
