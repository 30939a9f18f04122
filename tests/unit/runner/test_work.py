from hypothesis import given
from hypothesis import strategies as st

from relay_runner.protocol.agents import AgentState, WorkKind
from relay_runner.providers.base import ProcessState
from relay_runner.runner.work import Work


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
