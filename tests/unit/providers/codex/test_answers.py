from __future__ import annotations

from typing import Any

import pytest

from relay_runner.errors import ProviderRefused
from relay_runner.protocol.permissions import Decision
from relay_runner.providers.base import Answer
from relay_runner.providers.codex import answers, questions
from relay_runner.providers.codex.answers import Reply
from tests.unit.providers.codex import asks


@pytest.mark.parametrize("method", [questions.COMMAND, questions.CHANGE])
def test_commands_and_changes(method: str) -> None:
    request = asks.request(method, asks.COMMAND)
    words = {
        Decision.APPROVE: "accept",
        Decision.APPROVE_SESSION: "acceptForSession",
        Decision.DENY: "decline",
        Decision.ABORT: "cancel",
        Decision.APPROVE_ALWAYS: asks.AMENDMENT,
    }
    for decision, word in words.items():
        assert answers.reply(request, Answer(decision)) == Reply({"decision": word})


def test_access_is_given_for_the_turn_or_the_session_and_a_no_gives_none() -> None:
    request = asks.request(questions.ACCESS, asks.ACCESS)
    wanted = asks.ACCESS["permissions"]
    assert answers.reply(request, Answer(Decision.APPROVE)) == Reply({"permissions": wanted, "scope": "turn"})
    assert answers.reply(request, Answer(Decision.APPROVE_SESSION)).result["scope"] == "session"
    assert answers.reply(request, Answer(Decision.DENY)) == Reply({"permissions": {}})
    assert answers.reply(request, Answer(Decision.ABORT)) == Reply({"permissions": {}}, interrupt=True)


def test_a_question_is_told_the_answers() -> None:
    request = asks.request(questions.INPUT, asks.INPUT)
    for given in ("Red", ["Red"]):
        told = answers.reply(request, Answer(Decision.APPROVE, answers={"color": given}))
        assert told == Reply({"answers": {"color": {"answers": ["Red"]}}})
    assert answers.reply(request, Answer(Decision.DENY)) == Reply({"answers": {}})
    assert answers.reply(request, Answer(Decision.ABORT)) == Reply({"answers": {}}, interrupt=True)


@pytest.mark.parametrize(
    ("decision", "result"),
    [
        (Decision.APPROVE, {"action": "accept", "content": {}}),
        (Decision.APPROVE_SESSION, {"action": "accept", "content": {}}),
        (Decision.APPROVE_ALWAYS, {"action": "accept", "content": {}, "_meta": {"persist": "always"}}),
        (Decision.DENY, {"action": "decline"}),
    ],
)
def test_a_tool(decision: Decision, result: dict[str, Any]) -> None:
    assert answers.reply(asks.request(questions.ELICITATION, asks.TOOL), Answer(decision)) == Reply(result)


def test_a_form_is_filled_in() -> None:
    request = asks.request(questions.ELICITATION, asks.FORM)
    told = answers.reply(request, Answer(Decision.APPROVE, answers={"name": "ann", "age": "3"}))
    assert told == Reply({"action": "accept", "content": {"name": "ann", "age": 3}})
    assert answers.reply(request, Answer(Decision.ABORT)) == Reply({"action": "cancel"}, interrupt=True)
    with pytest.raises(ProviderRefused, match="age is to be a number"):
        answers.reply(request, Answer(Decision.APPROVE, answers={"age": "old"}))
