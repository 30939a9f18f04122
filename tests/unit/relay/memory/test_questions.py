import pytest

from relay_runner.errors import RelayNotFound
from relay_runner.protocol.access import Caller
from relay_runner.protocol.permissions import Decision, NewDecision, NewPermission, PermissionQuery
from relay_runner.protocol.tokens import OPERATOR
from relay_runner.relay.memory.hub import Hub
from relay_runner.relay.memory.questions import Questions

OP = Caller("person:op", frozenset({OPERATOR}))


def test_an_answer_is_kept_for_an_agent_that_is_not_there() -> None:
    hub = Hub()
    questions = Questions(hub.board, hub.members)
    questions.open(NewPermission(id="p1", agent_id="bob", instance_id="one", kind="tool", title="t"))
    assert questions.decided("bob") == []
    questions.decide(OP, "p1", NewDecision(decision=Decision.DENY))
    assert [frame.permission_id for frame in questions.decided("bob")] == ["p1"]
    questions.withdraw_all("bob")
    assert questions.decided("bob") == [] and questions.asked(PermissionQuery(open=True)) == []
    with pytest.raises(RelayNotFound):
        questions.get(Caller("agent:eve", frozenset({"agent:eve"})), "p1")
