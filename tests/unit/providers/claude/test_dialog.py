"""Dialogs as Claude Code 2.1.197 draws them, and what is proof enough to press a key."""

from __future__ import annotations

import pytest

from relay_runner.providers.claude.asks import Ask
from relay_runner.providers.claude.dialog import dialog_of, proves, shows
from relay_runner.terminal.base import Screen

RULE = "─" * 40
MKDIR = Ask("Bash", {"command": "mkdir x1", "description": "make it"})


def screen(*lines: str) -> Screen:
    return Screen(("● Bash(mkdir x1)", "  ⎿  Waiting…", RULE, *lines))


def bash(*body: str, header: str = " Bash command", first: str = " \u276f 1. Yes") -> Screen:
    more = ("   2. Yes, and always allow access to work/ from this project", "   3. No", "", " Esc to cancel")
    return screen(header, "", *body, "", " Do you want to proceed?", first, *more)


QUESTION = screen(
    "←  ☐ Pick  ✔ Submit  →", "", "Which?", "", "\u276f 1. A", "     aa", "  2. B", RULE, "  4. Chat about this"
)
WRITE = screen(
    " Create file", " new.txt", "╌╌╌╌╌╌╌╌", "  1 hello", "╌╌╌╌╌╌╌╌",
    " Do you want to create new.txt?", " \u276f 1. Yes",
    "   2. Yes, allow all edits during this session (shift+tab)", "   3. No",
)  # fmt: skip
FETCH = screen(
    " Fetch", "", '   url: "https://example.com/a", prompt: "x"', "   Claude wants to fetch content from example.com",
    "",
    " Do you want to allow Claude to fetch this content?", " \u276f 1. Yes",
)  # fmt: skip
PLAN = screen(" Exit plan mode?", "", "  Claude wants to exit plan mode", "", "  \u276f 1. Yes", "    2. No")


def test_the_dialog_of_that_command_is_proof() -> None:
    for header in (" Bash command", " Bash command · from the general-purpose agent"):
        dialog = dialog_of(bash("   mkdir x1", "   make it", header=header))
        assert dialog is not None and proves(dialog, MKDIR) and shows(dialog, MKDIR)
        assert dialog.title == "Bash command: mkdir x1"


@pytest.mark.parametrize(
    "shown",
    [
        bash("   mkdir x2", "   make it"),
        bash("   mkdir  x1", "   make it"),
        bash("   mkdir x1", "   make it", "   Dangerous rm operation on critical path"),
        bash("   mkdir x1"),
        bash("   mkdir", "   x1", "   make it"),
        bash("   mkdir x1", "   make it", header=" Fetch"),
        bash("   mkdir x1", "   make it", first=" \u276f 1. Yes, and don't ask again"),
        bash("   mkdir x1 && rm -rf /", "   make it"),
        WRITE,
    ],
)
def test_everything_else_is_no_proof(shown: Screen) -> None:
    dialog = dialog_of(shown)
    assert dialog is not None and not proves(dialog, MKDIR)


def test_a_dialog_is_told_from_those_of_other_requests() -> None:
    asks = {
        "bash": (bash("   mkdir", "   x1", "   make it"), MKDIR),
        "write": (WRITE, Ask("Write", {"file_path": "/w/new.txt", "content": "hello\n"})),
        "question": (QUESTION, Ask("AskUserQuestion", {"questions": [{"question": "Which?"}]})),
        "fetch": (FETCH, Ask("WebFetch", {"url": "https://example.com/a", "prompt": "x"})),
        "plan": (PLAN, Ask("ExitPlanMode", {"plan": "do it"})),
    }
    for name, (shown, _) in asks.items():
        dialog = dialog_of(shown)
        assert dialog is not None
        assert [other for other, (_, ask) in asks.items() if shows(dialog, ask)] == [name]


def test_a_screen_without_a_dialog_has_none() -> None:
    assert dialog_of(Screen((RULE, "\u276f\u00a0", RULE, "  ? for shortcuts"))) is None
    assert dialog_of(Screen(())) is None
