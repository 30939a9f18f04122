"""Screens of Claude Code as data."""

from __future__ import annotations

import dataclasses

import pytest

from relay_runner.providers.claude.screen import InputRow, box, input_row, last_words, start_dialog
from relay_runner.terminal.base import Screen, Style
from tests.unit.providers.claude.box import RULE, hinted, screen
from tests.unit.providers.claude.recorded import recorded, versions

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
    assert input_row(screen("one", "two")) == InputRow("one", draft=True, more=("  two",))


def test_a_draft_whose_first_line_is_empty() -> None:
    assert input_row(screen("", "two")) == InputRow("", draft=True, more=("  two",))


def test_a_draft_with_the_cursor_at_its_start_is_a_draft() -> None:
    assert input_row(screen("half a line", cursor=(2, 1))) == InputRow("half a line", draft=True)


@pytest.mark.parametrize("hint", ['Try "fix lint errors"', "Resend your message to try again", "漢字 and more"])
def test_a_hint_is_known_by_how_it_is_drawn(hint: str) -> None:
    assert input_row(hinted(hint)) == InputRow("", draft=False)
    assert input_row(hinted(hint, drawn=False)) == InputRow(hint, draft=True)


def test_a_hint_that_is_drawn_without_the_programs_cursor_is_one() -> None:
    hint = screen("Message @bob", cursor=(2, 1))
    dim = dataclasses.replace(hint, styles=(b"", bytes([0, 0, *[Style.DIM] * 12])))
    assert input_row(dim) == InputRow("", draft=False)


def test_what_a_person_typed_before_a_hint_is_a_draft() -> None:
    drawn = bytes([0, 0, *[0] * 5, Style.REVERSE, *[Style.DIM] * 2])
    row = dataclasses.replace(screen("/compact", cursor=(7, 1)), styles=(b"", drawn))
    assert input_row(row) == InputRow("/comp", draft=True)


def test_a_cursor_in_a_draft_makes_no_hint_of_the_rest() -> None:
    drawn = bytes([0, 0, Style.REVERSE])
    assert input_row(dataclasses.replace(screen("half", cursor=(2, 1)), styles=(b"", drawn))) == InputRow("half", True)
    one = dataclasses.replace(screen("x", cursor=(2, 1)), styles=(b"", drawn))
    assert input_row(one) == InputRow("x", draft=True)
    elsewhere = bytes([0, 0, *[Style.DIM] * 4])
    assert input_row(dataclasses.replace(screen("half"), styles=(b"", elsewhere))) == InputRow("half", draft=True)


def test_a_hint_that_a_person_typed_is_a_draft() -> None:
    assert input_row(screen('Try "it"')) == InputRow('Try "it"', draft=True)


@pytest.mark.parametrize("version", versions())
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("idle", ""),
        ("hint-after-error", ""),
        ("hint-queued", ""),
        ("draft", "hello draft"),
        ("draft-command", "/comp"),
        ("draft-folded", "[Pasted text #1 +4 lines]"),
    ],
)
def test_recorded_input_rows(version: str, name: str, text: str) -> None:
    assert input_row(recorded(version, name)) == InputRow(text, draft=bool(text))


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


RULES = "─" * 40


@pytest.mark.parametrize(
    ("lines", "cursor", "shown"),
    [
        ((RULES, "\u276f\u00a0hello", RULES, "  ? for shortcuts"), (7, 1), "\u276f\u00a0hello"),
        (("● ok", "─── ↑ 48 more ───── test ─", "  line 31", "  end", RULES, "  manual"), (5, 3), "  line 31\n  end"),
        (("  line 2", "  end", RULES, "  ctrl+g to edit"), (5, 1), "  line 2\n  end"),  # 2.1.197: no upper rule
        (("● said", RULES, " Do you want to proceed?", " \u276f 1. Yes"), (0, 3), ""),
        (("just text",), (0, 0), ""),
    ],
)
def test_the_box_is_what_stands_between_its_rules(lines: tuple[str, ...], cursor: tuple[int, int], shown: str) -> None:
    assert box(Screen(lines=lines, cursor=cursor)) == shown
