from pathlib import Path

import pytest

from relay_runner.protocol.agents import AgentState, Status, WorkKind, context
from relay_runner.protocol.control import PostedStatus, StatusPost, TimelinePost
from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import (
    ContextUsed,
    Degraded,
    Learnt,
    ProcessState,
    SessionLost,
    SessionStarted,
    StateChanged,
    SubagentEnded,
    SubagentStarted,
    TurnEnded,
    TurnStarted,
)
from relay_runner.runner.identity import Identity
from relay_runner.runner.notes import Notes
from relay_runner.runner.options import RunnerOptions
from relay_runner.runner.work import Work


class Desk:
    def __init__(self) -> None:
        self.work = Work()
        self.identity = Identity(RunnerOptions(agent_id="bob", provider="demo", cwd=Path("/project")))
        self.sessions: list[str] = []
        self.lost: list[str] = []
        self.turns: list[str] = []
        self.idle = 0
        self.notes = Notes(
            self.work,
            self.identity,
            on_session=self.sessions.append,
            on_lost=self.lost.append,
            on_turn=self.turns.append,
            on_idle=self._idle,
            on_unusable=lambda reason: None,
        )

    def _idle(self) -> None:
        self.idle += 1

    def kinds(self) -> list[WorkKind]:
        return [item.kind for item in self.work.items]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_turns_and_subagents_are_work_while_they_last(desk: Desk) -> None:
    desk.notes.take(StateChanged(ProcessState.BUSY, "hook"))
    desk.notes.take(TurnStarted("t1", "hook"))
    desk.notes.take(SubagentStarted("s1", "hook", role="scout"))
    desk.notes.take(SubagentStarted("s2", "hook"))
    assert sorted(desk.kinds()) == [WorkKind.TURN, WorkKind.SUBAGENT, WorkKind.SUBAGENT]
    desk.notes.take(SubagentEnded("s1", "hook"))
    assert [item.id for item in desk.work.items if item.kind is WorkKind.SUBAGENT] == ["s2"]
    desk.notes.take(SubagentEnded(None, "hook"))
    desk.notes.take(TurnEnded(Outcome.COMPLETED, "hook"))
    assert desk.kinds() == []


def test_a_session_is_learnt_and_passed_on(desk: Desk) -> None:
    desk.notes.take(SessionStarted("session-1", "hook", model="big"))
    assert desk.sessions == ["session-1"] and desk.work.session_id == "session-1"
    assert desk.identity.hello(Status()).meta["model"] == "big"


def test_only_an_idle_provider_is_told_as_idle(desk: Desk) -> None:
    desk.notes.take(StateChanged(ProcessState.BUSY, "hook", "compacting"))
    assert desk.idle == 0 and desk.work.status(1.0).provider_state == "busy: compacting"
    desk.notes.take(StateChanged(ProcessState.IDLE, "hook"))
    assert desk.idle == 1 and desk.work.status(1.0).agent_status is AgentState.IDLE


def test_what_is_missing_and_what_is_learnt_shows(desk: Desk) -> None:
    desk.notes.take(Degraded("hooks do not arrive"))
    desk.notes.take(Learnt({"effort": "high", "context": None}))
    assert desk.work.status(1.0).detail == "hooks do not arrive"
    assert desk.identity.hello(Status()).meta["effort"] == "high"
    desk.notes.take(Degraded(None))
    assert desk.work.status(1.0).detail is None


def test_the_context_is_in_the_status_and_in_the_meta(desk: Desk) -> None:
    used = context(50, 200, source="api", confidence="exact", at=1.0)
    desk.notes.take(StateChanged(ProcessState.IDLE, "hook"))
    desk.notes.take(ContextUsed(used))
    assert desk.work.status(2.0).context == used
    meta = desk.identity.hello(Status()).meta["context"]
    assert (meta["utilisation"], meta["lifecycleState"], meta["confidence"]) == (0.25, "active", "exact")
    desk.work.provider(None)
    assert desk.work.status(3.0).context is None


def test_a_lost_session_is_shown_and_passed_on(desk: Desk) -> None:
    desk.notes.take(SessionLost("session-0"))
    assert desk.lost == ["session-0"]
    assert desk.identity.hello(Status()).meta["lostSession"] == "session-0"


def test_the_session_of_each_turn_is_passed_on(desk: Desk) -> None:
    desk.notes.take(TurnEnded(Outcome.COMPLETED, "hook"))
    desk.notes.take(SessionStarted("session-1", "hook"))
    desk.notes.take(TurnEnded(Outcome.COMPLETED, "hook"))
    assert desk.turns == ["session-1"]


def test_a_post_of_this_session_counts_and_of_another_is_dropped(desk: Desk) -> None:
    desk.notes.take(StateChanged(ProcessState.IDLE, "screen"))
    desk.notes.take(SessionStarted("session-1", "hook"))
    for told in (None, "process-1", "session-1"):
        post = StatusPost(status=PostedStatus.BUSY, provider_session_id=told, id=str(told))
        assert desk.notes.post(post, "process-1").accepted
    other = StatusPost(status=PostedStatus.BUSY, provider_session_id="process-0", id="old")
    answer = desk.notes.post(other, "process-1")
    assert (answer.accepted, answer.reason) == (False, "it is of another session")
    assert len(desk.work.items) == 3


def test_a_posted_event_is_in_the_timeline(desk: Desk) -> None:
    event = TimelinePost(kind="deployed\n", data={"to": "staging"})
    desk.notes.post(StatusPost(status=PostedStatus.IDLE, timeline=event))
    (told,) = desk.work.timeline.waiting
    assert (told.kind, told.data) == ("post:deployed", {"post": {"to": "staging"}})
