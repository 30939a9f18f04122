from __future__ import annotations

import pytest

from relay_runner.protocol.permissions import AT_THE_TERMINAL, Decision
from relay_runner.providers.base import PermissionAsked
from relay_runner.providers.codex import questions
from tests.unit.providers.codex import asks
from tests.unit.providers.codex.server import THREAD

ALL = [Decision.APPROVE, Decision.APPROVE_SESSION, Decision.DENY, Decision.ABORT]
ONCE = [Decision.APPROVE, Decision.DENY, Decision.ABORT]


def asked(method: str, params: dict[str, object], **more: object) -> PermissionAsked:
    return questions.asked(asks.request(method, params), "p1", **more)  # type: ignore[arg-type]


def test_a_command() -> None:
    told = asked(questions.COMMAND, {**asks.COMMAND, "reason": "to see"})
    assert (told.id, told.kind, told.title, told.source) == ("p1", "command", "touch one", questions.COMMAND)
    assert told.detail == "to see\nin /project"
    assert list(told.decisions) == ALL
    assert told.metadata == {"threadId": THREAD, "turnId": "t1", "itemId": "call_1", "cwd": "/project"}


def test_a_rule_for_good_is_offered_only_where_it_may_be_and_the_server_has_one() -> None:
    assert asked(questions.COMMAND, asks.COMMAND, standing=True).decisions == (
        Decision.APPROVE, Decision.APPROVE_SESSION, Decision.APPROVE_ALWAYS, Decision.DENY, Decision.ABORT,
    )  # fmt: skip
    bare = {**asks.COMMAND, "availableDecisions": ["accept", "cancel"]}
    assert Decision.APPROVE_ALWAYS not in asked(questions.COMMAND, bare, standing=True).decisions
    assert Decision.APPROVE_ALWAYS in asked(questions.ELICITATION, asks.TOOL, standing=True).decisions
    assert Decision.APPROVE_ALWAYS not in asked(questions.ELICITATION, asks.FORM, standing=True).decisions
    assert questions.always(asks.command()) == asks.AMENDMENT


def test_a_command_that_no_line_can_show_stands_whole_in_the_detail() -> None:
    script = "cat > x <<'E'\n" + "x" * 500 + "\x1b[31m\nE"
    told = asked(questions.COMMAND, {**asks.COMMAND, "command": questions.shlex.join(["/bin/bash", "-lc", script])})
    assert len(told.title) <= 200 and "\n" not in told.title
    assert told.detail is not None and "x" * 500 in told.detail and "\x1b" not in told.detail + told.title


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/bin/bash -lc 'a && b'", "a && b"),
        ("/usr/bin/zsh -c a", "a"),
        ("git status", "git status"),
        ("/bin/bash -lc a b", "/bin/bash -lc a b"),
        ("/bin/bash -lc 'open", "/bin/bash -lc 'open"),
    ],
)
def test_only_a_plain_shell_is_taken_off_a_command(command: str, shown: str) -> None:
    assert questions.unwrapped(command) == shown


def test_a_connection() -> None:
    rule = {"applyNetworkPolicyAmendment": {"network_policy_amendment": {"action": "allow", "host": "example.org"}}}
    params = {
        **asks.COMMAND,
        "networkApprovalContext": {"host": "example.org", "protocol": "https"},
        "availableDecisions": ["accept", rule],
    }
    told = asked(questions.COMMAND, params, standing=True)
    assert (told.kind, told.title) == ("network", "https connection to example.org")
    assert (
        Decision.APPROVE_ALWAYS in told.decisions and questions.always(asks.request(questions.COMMAND, params)) == rule
    )
    assert told.detail == "touch one\nin /project"


def test_words_for_a_running_command_are_approved_one_by_one() -> None:
    told = asked(questions.COMMAND, {**asks.COMMAND, "kind": "writeStdin"})
    assert told.title == "type into a running command: touch one" and list(told.decisions) == ONCE


def test_a_change_shows_its_diff() -> None:
    changes = [
        {"path": "/project/new.txt", "kind": {"type": "add"}, "diff": "hello\n"},
        {"path": "/project/old.txt", "kind": {"type": "delete"}, "diff": "bye\n"},
    ]
    told = asked(questions.CHANGE, {"itemId": "i", "reason": None, "grantRoot": "/project"}, changes=changes)
    assert (told.kind, told.title, list(told.decisions)) == ("change", "add new.txt, delete old.txt", ONCE)
    assert told.detail is not None
    assert "anything below /project" in told.detail and "add /project/new.txt\nhello\n" in told.detail
    plain = asked(questions.CHANGE, {"itemId": "i"})
    assert (plain.title, list(plain.decisions)) == ("change files", ALL), "for the session: these files, never a folder"


def test_more_access() -> None:
    told = asked(questions.ACCESS, asks.ACCESS)
    assert (told.kind, told.title, list(told.decisions)) == ("access", "write /var/tmp and use the network", ALL)
    assert told.detail is not None and told.detail.startswith("need it\n")
    only = asked(questions.ACCESS, {**asks.ACCESS, "permissions": {"network": {"enabled": True}}})
    assert (only.kind, only.title) == ("network", "use the network")


def test_a_question_of_the_model() -> None:
    told = asked(questions.INPUT, asks.INPUT)
    assert (told.kind, told.title, list(told.decisions)) == ("question", "Which color?", ONCE)
    (question,) = told.questions
    assert (question.id, question.options, question.other, question.secret) == ("color", ("Red", "Blue"), True, False)
    assert told.detail == "Which color?\n  Red: warm\n  Blue: cold"


def test_a_tool_of_an_mcp_server() -> None:
    told = asked(questions.ELICITATION, asks.TOOL)
    assert (told.kind, told.title, list(told.decisions)) == ("tool", 'mail: post {"text": "hi"}', ALL)
    assert told.detail is not None and "posts" in told.detail
    other = {**asks.TOOL, "_meta": {**asks.TOOL["_meta"], "tool_params": {"text": "else"}}}
    calls = {questions.call_of(asks.request(questions.ELICITATION, params)) for params in (asks.TOOL, other, asks.FORM)}
    assert len(calls) == 3 and None in calls and questions.call_of(asks.command()) is None


def test_a_form_and_what_only_the_terminal_can_answer() -> None:
    told = asked(questions.ELICITATION, asks.FORM)
    assert (told.kind, told.title, list(told.decisions)) == ("form", "mail: Who are you?", ONCE)
    assert [question.id for question in told.questions] == ["name", "age", "ok", "color", "many"]
    page = asked(questions.ELICITATION, {"serverName": "mail", "mode": "url", "message": "m", "url": "https://e.org"})
    assert page.detail == "m\nlook at https://e.org, then approve" and not page.questions
    device = {"serverName": "mail", "mode": "openai/userVerification", "title": "Prove it", "challenge": "c"}
    told = asked(questions.ELICITATION, device)
    assert (told.title, told.decisions, told.note) == ("mail: Prove it", (), AT_THE_TERMINAL)


def test_a_sub_agent_is_named() -> None:
    assert asked(questions.COMMAND, asks.COMMAND, who="helper").detail == "asked by the sub-agent helper\nin /project"
