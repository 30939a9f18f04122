import pytest
from msgspec.structs import replace

from relay_runner.cli.deciding import parse, problem
from relay_runner.errors import ConfigError
from relay_runner.protocol.permissions import Decision, Permission, PermissionState, Question, Resolution

ONE = (Question(id="1", text="x"),)
TWO = (*ONE, Question(id="2", text="y"))
FOUND = Permission(id="p", agent_id="a", instance_id="i", kind="tool", title="t", created_at=0.0)


def test_words_become_answers() -> None:
    assert parse(("2=b", "1=a=c", "2=d"), TWO) == {"1": "a=c", "2": ["b", "d"]}
    assert parse(("free text",), ONE) == {"1": "free text"}
    assert parse(("k=v",), ONE) == {"1": "k=v"}
    assert parse(("1=v",), ONE) == {"1": "v"}
    assert parse((), TWO) == {}
    named = (Question(id="name", text="x"), Question(id="color", text="y"))
    assert parse(("2=blue", "name=ann"), named) == {"color": "blue", "name": "ann"}
    for words in (("text",), ("text",)):
        with pytest.raises(ConfigError, match="which question"):
            parse(words, TWO)


def test_what_went_wrong_is_said_and_nothing_else() -> None:
    decided = replace(FOUND, state=PermissionState.DECIDED, decision=Decision.APPROVE)
    assert problem(decided, Decision.APPROVE) is None
    applied = replace(decided, state=PermissionState.CLOSED, resolution=Resolution.APPLIED)
    assert problem(applied, Decision.APPROVE) is None
    assert problem(replace(applied, decision=Decision.DENY), Decision.APPROVE) == "already answered with deny"
    assert problem(replace(decided, note="answer at the terminal"), Decision.APPROVE) == "answer at the terminal"
