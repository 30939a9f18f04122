"""Screens of Claude Code as data."""

from __future__ import annotations

import pytest

from relay_runner.providers.claude.screen import InputRow, input_row, last_words, start_dialog
from relay_runner.terminal.base import Screen
from tests.unit.providers.claude.box import RULE, screen

PERMISSION = (
    "● Bash(mkdir x)",
    "  ⎿  Waiting…",
    RULE,
    " Bash command",
    " Do you want to proceed?",
    " \u276f 1. Yes",
    "   2. No",
    " Esc to cancel · Tab to amend",
)


def test_an_empty_box() -> None:
    assert input_row(screen()) == InputRow("", draft=False)


def test_a_draft_of_one_line() -> None:
    assert input_row(screen("half a line")) == InputRow("half a line", draft=True)


def test_a_draft_of_several_lines() -> None:
    assert input_row(screen("one", "two")) == InputRow("one", draft=True)


def test_a_draft_whose_first_line_is_empty() -> None:
    assert input_row(screen("", "two")) == InputRow("", draft=True)


def test_a_draft_with_the_cursor_at_its_start_is_a_draft() -> None:
    assert input_row(screen("half a line", cursor=(2, 1))) == InputRow("half a line", draft=True)


@pytest.mark.parametrize("hint", ['Try "fix lint errors"', "Press up to edit queued messages"])
def test_a_hint_is_no_draft(hint: str) -> None:
    assert input_row(screen(hint, cursor=(2, 1))) == InputRow("", draft=False)


def test_a_hint_that_a_person_typed_is_a_draft() -> None:
    assert input_row(screen('Try "it"')) == InputRow('Try "it"', draft=True)


def test_history_is_not_the_box() -> None:
    history = ("\u276f an earlier prompt", "● an answer")
    assert input_row(screen("draft", above=history)) == InputRow("draft", draft=True)
    assert input_row(Screen(lines=(*history, "  more"))) is None


def test_a_dialog_hides_the_box() -> None:
    assert input_row(Screen(lines=PERMISSION)) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Is this a project you created or one you trust?", "--trust-folder"),
        ("Detected a custom API key in your environment", "ANTHROPIC_API_KEY"),
        ("Choose the text style that looks best with your terminal", "never set up"),
        ("New MCP server found in .mcp.json: s", ".mcp.json"),
        ("WARNING: Claude Code running in Bypass Permissions mode", "bypass"),
    ],
)
def test_dialogs_at_the_start_have_a_line(line: str, told: str) -> None:
    dialog = start_dialog(Screen(lines=("", line, "\u276f 1. Yes")))
    assert dialog is not None and told in f"{dialog.asks}: {dialog.hint}"


def test_the_prompt_is_no_dialog() -> None:
    assert start_dialog(screen()) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("No conversation found with session ID: abc", "it has no conversation abc in this folder"),
        ("Error: Session ID abc is already in use.", "its session abc is already in use"),
        ("error: unknown option '--nope'", "it does not know an argument: unknown option '--nope'"),
        ("Error: something else", "something else"),
    ],
)
def test_last_words(line: str, words: str) -> None:
    assert last_words(Screen(lines=("", line))) == words


def test_no_last_words() -> None:
    assert last_words(screen()) is None
    assert last_words(None) is None
