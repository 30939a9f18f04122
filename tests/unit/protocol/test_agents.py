"""What is left of a status when its agent is not heard of any more."""

import pytest

from relay_runner.protocol.agents import AgentState, Status, Transport, TransportState, WorkItem, WorkKind, unheard

WORK = WorkItem(kind=WorkKind.TURN, id="t", started_at=1.0, source="hook")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (AgentState.IDLE, AgentState.OFFLINE),
        (AgentState.BUSY, AgentState.OFFLINE),
        (AgentState.OFFLINE, AgentState.OFFLINE),
        (AgentState.ERROR, AgentState.ERROR),
    ],
)
def test_only_an_error_outlives_the_silence(said: AgentState, shown: AgentState) -> None:
    transport = Transport(state=TransportState.CONNECTED, since=1.0)
    status = Status(
        agent_status=said, ready=True, busy_reasons=("turn",), active_work=(WORK,), active_subagents=1,
        transport=transport, detail="why", provider_session_id="s",
    )  # fmt: skip
    assert unheard(status) == Status(agent_status=shown, detail="why", provider_session_id="s")
