"""What Claude Code asks, in our words, and our answers in its words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.protocol.permissions import AT_THE_TERMINAL, Decision
from relay_runner.providers.base import Answer
from relay_runner.providers.claude.asks import BY_KEY, DENIED, OFFERED, OFFERED_ONCE, Ask

QUESTIONS = {
    "questions": [
        {
            "question": "Which?", "header": "Pick", "multiSelect": False,
            "options": [{"label": "A", "description": "aa"}, {"label": "B"}],
        },
        {"question": "Many?", "header": "Sizes", "multiSelect": True, "options": [{"label": "S"}, {"label": "M"}]},
    ]
}  # fmt: skip


def ask(tool: str, **given: Any) -> Ask:
    return Ask.of({"tool_name": tool, "tool_input": given, "session_id": "s1"})


def decision(of: Ask, answer: Answer) -> dict[str, Any]:
    output = of.reply(answer)["hookSpecificOutput"]
    assert output["hookEventName"] == "PermissionRequest"
    found: dict[str, Any] = output["decision"]
    return found


@pytest.mark.parametrize(
    ("asked", "kind", "title", "detail"),
    [
        (ask("Bash", command="mkdir x", description="make it"), "command", "mkdir x", "make it"),
        (ask("Bash", command="a\nb"), "command", "a\nb", "a\nb"),
        (ask("Write", file_path="/w/n", content="hi\n"), "change", "Write /w/n", "hi\n"),
        (ask("Edit", file_path="/w/n", old_string="a", new_string="b"), "change", "Edit /w/n", "- a\n+ b"),
        (ask("WebFetch", url="https://h/p", prompt="x"), "network", "WebFetch https://h/p", None),
        (ask("ExitPlanMode", plan="do it"), "plan", "Leave plan mode and begin", "do it"),
        (ask("AskUserQuestion", **QUESTIONS), "question", "2 questions", "Which?\nMany?"),
        (ask("mcp__db__drop", table="t"), "tool", 'mcp__db__drop {"table": "t"}', None),
    ],
)
def test_what_is_asked_reads_like_what_it_is(asked: Ask, kind: str, title: str, detail: str | None) -> None:
    event = asked.asked("q1")
    assert (event.kind, event.title) == (kind, title)
    if detail is not None:
        assert event.detail == detail
    assert event.decisions == (OFFERED_ONCE if kind in ("plan", "question") else OFFERED)


def test_a_subagent_is_named() -> None:
    payload = {"tool_name": "Bash", "tool_input": {"command": "ls"}, "agent_id": "a1", "agent_type": "explorer"}
    event = Ask.of(payload).asked("q1")
    assert event.metadata == {"tool": "Bash", "subagentId": "a1"} and "explorer" in (event.detail or "")


def test_what_only_the_terminal_can_answer_says_so() -> None:
    assert ask("Bash", command="ls").asked("q1", ()).note == AT_THE_TERMINAL
    assert ask("Bash", command="ls").asked("q1", BY_KEY).note is None


def test_the_four_decisions_in_the_programs_words() -> None:
    made = ask("Bash", command="mkdir x")
    assert decision(made, Answer(Decision.APPROVE)) == {"behavior": "allow"}
    assert decision(made, Answer(Decision.DENY)) == {"behavior": "deny", "message": DENIED}
    assert decision(made, Answer(Decision.ABORT, "stop")) == {"behavior": "deny", "message": "stop", "interrupt": True}


def test_questions_are_answered_by_their_texts() -> None:
    made = ask("AskUserQuestion", **QUESTIONS)
    first, second = made.asked("q1").questions
    assert (first.id, first.options, first.other, first.multiple) == ("1", ("A", "B"), True, False)
    assert (second.id, second.multiple) == ("2", True)
    allow = decision(made, Answer(Decision.APPROVE, answers={"1": "B", "2": ["S", "M"]}))
    assert allow["updatedInput"] == {**QUESTIONS, "answers": {"Which?": "B", "Many?": "S, M"}}
    assert "updatedPermissions" not in allow


@given(st.sampled_from(["Bash", "Write", "Edit", "Read", "WebFetch", "mcp__a__b"]), st.text(max_size=30), st.text())
def test_an_approval_for_the_session_never_widens(tool: str, path: str, command: str) -> None:
    made = ask(tool, file_path="/w/" + path, command=command, url="https://h/p")
    allow = decision(made, Answer(Decision.APPROVE_SESSION))
    for update in allow.get("updatedPermissions", []):
        assert (update["type"], update["destination"], update["behavior"]) == ("addRules", "session", "allow")
        (rule,) = update["rules"]
        assert rule == {"toolName": "Read" if tool == "Read" else "Edit", "ruleContent": f"//w/{path}"}
        assert tool in ("Write", "Edit", "Read") and not set(rule["ruleContent"]) & set("*?[]{}!\\#()")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ask("Bash", command="ls", description="a"), ask("Bash", command="ls", description="b"), True),
        (ask("Bash", command="ls"), ask("Bash", command="ls "), False),
        (ask("Bash", command="ls"), ask("Bash", command="ls", run_in_background=True), False),
        (ask("Bash", command="ls"), ask("Read", command="ls"), False),
        (ask("Bash", command="ls"), Ask("Bash", {"command": "ls"}, "s2"), False),
        (ask("Bash", command="ls"), Ask("Bash", {"command": "ls"}, "s1", "a1", "x"), True),
    ],
)
def test_the_very_same_request_is_told_from_every_other(one: Ask, other: Ask, same: bool) -> None:
    assert (one.key == other.key) is same


def test_a_payload_of_any_shape_is_read() -> None:
    for payload in ({}, {"tool_input": "x"}, {"tool_name": "AskUserQuestion", "tool_input": {"questions": [1, {}]}}):
        assert Ask.of(payload).asked("q1").title
