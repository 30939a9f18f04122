from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay_runner.protocol.agents import AgentState, WorkKind
from relay_runner.protocol.control import PostedStatus, StatusPost
from relay_runner.providers.base import ProcessState
from relay_runner.runner.work import ENDED_BY_IDLE, LATE_S, MOST_POSTED, POSTED, POSTED_S, Work


def _idle() -> Work:
    work = Work()
    work.provider(ProcessState.IDLE)
    return work


def test_without_a_process_the_agent_is_offline() -> None:
    status = Work().status(1.0)
    assert (status.agent_status, status.ready, status.terminal_status) == (AgentState.OFFLINE, False, "closed")


def test_work_makes_busy_and_its_end_makes_idle() -> None:
    work = _idle()
    work.start(WorkKind.MESSAGE, "7", now=1.0, source="runner", label="message 7")
    assert work.status(2.0).agent_status is AgentState.BUSY
    assert work.status(2.0).busy_reasons == ("message: message 7",)
    work.finish(WorkKind.MESSAGE, "7")
    assert work.status(3.0).agent_status is AgentState.IDLE


def test_a_provider_that_is_busy_by_itself_makes_busy() -> None:
    work = _idle()
    work.provider(ProcessState.WAITING, "permission prompt")
    status = work.status(1.0)
    assert status.agent_status is AgentState.BUSY
    assert status.busy_reasons == ("waiting: permission prompt",)
    assert not status.ready


def test_a_provider_that_starts_is_busy_with_that() -> None:
    work = _idle()
    work.provider(ProcessState.STARTING)
    status = work.status(1.0)
    assert (status.agent_status, status.busy_reasons, status.ready) == (AgentState.BUSY, ("starting",), False)


def test_an_idle_provider_ends_turns_and_subagents_whose_end_was_lost() -> None:
    work = _idle()
    work.provider(ProcessState.BUSY)
    work.start(WorkKind.TURN, "t", now=1.0, source="hook")
    work.start(WorkKind.SUBAGENT, "s", now=1.0, source="hook")
    work.start(WorkKind.MESSAGE, "7", now=1.0, source="runner")
    work.provider(ProcessState.IDLE)
    assert [item.kind for item in work.items] == [WorkKind.MESSAGE]


def test_a_repeated_start_keeps_its_age() -> None:
    work = _idle()
    work.start(WorkKind.TURN, "t", now=1.0, source="a")
    work.start(WorkKind.TURN, "t", now=9.0, source="b")
    (item,) = work.items
    assert (item.started_at, item.source) == (1.0, "b")


def test_an_error_wins_and_a_lifecycle_action_makes_unready() -> None:
    work = _idle()
    work.lifecycle = "restarting"
    assert not work.status(1.0).ready
    work.error = "given up"
    assert work.status(1.0).agent_status is AgentState.ERROR
    assert work.status(1.0).detail == "given up"


_OPERATIONS = st.one_of(
    st.tuples(st.just("start"), st.sampled_from(WorkKind), st.sampled_from("abc")),
    st.tuples(st.just("finish"), st.sampled_from(WorkKind), st.sampled_from("abc")),
    st.tuples(st.just("state"), st.sampled_from(ProcessState), st.just("")),
)


@given(st.lists(_OPERATIONS))
def test_busy_is_exactly_when_there_is_work_or_the_provider_says_so(operations: list[tuple[str, object, str]]) -> None:
    work, state = _idle(), ProcessState.IDLE
    for name, what, id in operations:
        if name == "start":
            assert isinstance(what, WorkKind)
            work.start(what, id, now=1.0, source="test")
        elif name == "finish":
            assert isinstance(what, WorkKind)
            work.finish(what, id)
        else:
            assert isinstance(what, ProcessState)
            state = what
            work.provider(state)
    status = work.status(2.0)
    busy = bool(work.items) or state is not ProcessState.IDLE
    assert (status.agent_status is AgentState.BUSY) == busy
    assert bool(status.busy_reasons) == busy
    assert status.active_subagents == sum(item.kind is WorkKind.SUBAGENT for item in work.items)


def test_what_waits_for_a_person_is_said_first() -> None:
    work = _idle()
    work.provider(ProcessState.WAITING, "permission prompt")
    work.start(WorkKind.TURN, "t", now=1.0, source="hook")
    work.asks = ("asks for permission p1: mkdir x",)
    status = work.status(1.0)
    assert status.busy_reasons == ("asks for permission p1: mkdir x", "provider-turn")
    assert status.provider_state == "waiting: permission prompt"
    work.provider(ProcessState.IDLE)
    assert work.status(1.0).agent_status is AgentState.BUSY
    work.provider(None)
    assert work.status(1.0).busy_reasons == () and work.status(1.0).agent_status is AgentState.OFFLINE


# --- what is lost, and what scripts inside say ------------------------------------------------------------------------


def test_a_turn_or_subagent_that_an_idle_provider_cannot_be_at_is_let_go() -> None:
    work = _idle()
    work.start(WorkKind.SUBAGENT, "late", now=10.0, source="hook:SubagentStart")
    work.start(WorkKind.MESSAGE, "7", now=10.0, source="runner")
    assert work.status(10.0 + LATE_S / 2).active_subagents == 1
    assert [item.kind for item in work.status(10.0 + LATE_S).active_work] == [WorkKind.MESSAGE]


def test_nothing_is_let_go_while_the_provider_works() -> None:
    work = _idle()
    work.provider(ProcessState.BUSY, source="state-file", now=5.0)
    work.start(WorkKind.SUBAGENT, "long", now=10.0, source="hook:SubagentStart")
    status = work.status(10.0 + 100 * LATE_S)
    assert (status.active_subagents, status.agent_status) == (1, AgentState.BUSY)
    assert (status.provider_state_source, status.provider_state_since) == ("state-file", 5.0)


def test_the_providers_state_keeps_its_age() -> None:
    work = _idle()
    work.provider(ProcessState.BUSY, source="hook", now=5.0)
    work.provider(ProcessState.BUSY, "compact", source="screen", now=9.0)
    status = work.status(10.0)
    assert (status.provider_state, status.provider_state_source, status.provider_state_since) == (
        "busy: compact",
        "screen",
        5.0,
    )


def _post(status: PostedStatus, **fields: Any) -> StatusPost:
    return StatusPost(status=status, **fields)


def test_posted_work_makes_busy_until_it_is_posted_as_over() -> None:
    work = _idle()
    work.start(WorkKind.SUBAGENT, "build", now=1.0, source="hook")
    work.posted(
        _post(PostedStatus.BUSY, reason=WorkKind.SUBAGENT, id="build", label="the\x1b build", parent_id="t1", role="r"),
        1.0,
    )
    work.posted(_post(PostedStatus.BUSY, provider_state="thinking"), 1.0)
    own, build, turn = work.status(2.0).active_work
    assert (own.source, build.source, build.id) == ("hook", POSTED, "post:build")
    assert (build.label, build.parent_id, build.role) == ("the build", "t1", "r")
    assert (turn.kind, turn.label, turn.metadata) == (WorkKind.TURN, "thinking", {"providerState": "thinking"})
    work.posted(_post(PostedStatus.IDLE, reason=WorkKind.SUBAGENT, id="build"), 3.0)
    assert [item.id for item in work.items] == ["build", "post:provider-turn"]
    work.posted(_post(PostedStatus.IDLE), 3.0)
    assert [item.id for item in work.items] == ["build"]


def test_posted_work_outlives_an_idle_screen_and_not_the_silence_of_its_script() -> None:
    work = _idle()
    work.posted(_post(PostedStatus.BUSY, id="a"), 1.0)
    work.provider(ProcessState.BUSY)
    work.provider(ProcessState.IDLE)
    assert work.status(2.0).agent_status is AgentState.BUSY
    work.posted(_post(PostedStatus.BUSY, id="a"), 100.0)
    assert work.status(99.0 + POSTED_S).agent_status is AgentState.BUSY
    assert work.items[0].started_at == 1.0
    assert work.status(100.0 + POSTED_S).agent_status is AgentState.IDLE


def test_posted_work_of_a_busy_provider_is_let_go_by_an_idle_time_of_its_own() -> None:
    work = _idle()
    work.posted(_post(PostedStatus.BUSY, id="a"), 1.0)
    work.provider(ProcessState.BUSY, now=2.0)
    work.provider(ProcessState.IDLE, now=10 * POSTED_S)
    assert work.status(10 * POSTED_S + 1).agent_status is AgentState.BUSY
    assert work.status(11 * POSTED_S).agent_status is AgentState.IDLE


def test_clear_ends_posted_work_of_these_kinds_only() -> None:
    work = _idle()
    work.start(WorkKind.MESSAGE, "7", now=1.0, source="runner")
    for kind in (WorkKind.MESSAGE, WorkKind.SUBAGENT, WorkKind.TURN):
        work.posted(_post(PostedStatus.BUSY, reason=kind), 1.0)
    work.posted(_post(PostedStatus.IDLE, id="none", clear=(WorkKind.MESSAGE, WorkKind.SUBAGENT)), 2.0)
    assert [item.id for item in work.items] == ["7", "post:provider-turn"]


def test_a_complaint_shows_until_the_next_post_and_dies_with_the_process() -> None:
    work = _idle()
    work.posted(_post(PostedStatus.ERROR, label="no licence"), 1.0)
    assert (work.status(1.0).agent_status, work.status(1.0).detail) == (AgentState.ERROR, "no licence")
    work.posted(_post(PostedStatus.IDLE), 2.0)
    assert work.status(2.0).agent_status is AgentState.IDLE
    work.posted(_post(PostedStatus.ERROR), 3.0)
    work.posted(_post(PostedStatus.BUSY), 4.0)
    work.posted(_post(PostedStatus.ERROR), 5.0)
    work.provider(None)
    assert (work.status(6.0).agent_status, work.items) == (AgentState.OFFLINE, ())


def test_posts_have_a_bound() -> None:
    work = _idle()
    for number in range(MOST_POSTED):
        assert work.posted(_post(PostedStatus.BUSY, id=str(number)), 1.0)
    assert not work.posted(_post(PostedStatus.BUSY, id="one more"), 1.0)
    assert work.posted(_post(PostedStatus.BUSY, id="0"), 2.0)
    assert len(work.items) == MOST_POSTED


_HAPPENINGS = st.one_of(
    st.tuples(st.just("start"), st.sampled_from(sorted(ENDED_BY_IDLE)), st.sampled_from("abc")),
    st.tuples(st.just("finish"), st.sampled_from(sorted(ENDED_BY_IDLE)), st.sampled_from("abc")),
    st.tuples(st.just("state"), st.sampled_from(ProcessState), st.just("")),
    st.tuples(st.just("post"), st.sampled_from(PostedStatus), st.sampled_from("abc")),
)


@given(st.lists(st.tuples(_HAPPENINGS, st.floats(0, 1000))))
def test_whatever_happened_an_idle_provider_makes_an_idle_agent_and_a_busy_one_a_busy_agent(
    happenings: list[tuple[tuple[str, Any, str], float]],
) -> None:
    work, now = _idle(), 0.0
    for (name, what, id), after_s in happenings:
        now += after_s
        if name == "start":
            work.start(what, id, now=now, source="hook")
        elif name == "finish":
            work.finish(what, id)
        elif name == "state":
            work.provider(what, now=now)
            assert work.status(now).agent_status is not AgentState.IDLE or what is ProcessState.IDLE
        else:
            work.posted(_post(what, id=id, label="x"), now)
    work.provider(ProcessState.IDLE, now=now)
    work.posted(_post(PostedStatus.IDLE), now)  # a complaint lasts until the next post
    assert work.status(now + POSTED_S).agent_status is AgentState.IDLE
    work.provider(ProcessState.BUSY, now=now)
    assert work.status(now + 10 * POSTED_S).agent_status is AgentState.BUSY
