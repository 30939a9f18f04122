"""Telling from screens and times alone whether a program waits."""

from __future__ import annotations

import pytest

from relay_runner.providers.base import ProcessState
from relay_runner.providers.quiet import Line, QuietScreen, answer, cursor_line
from relay_runner.terminal.base import Screen

IDLE, BUSY, WAITING = ProcessState.IDLE, ProcessState.BUSY, ProcessState.WAITING


def screen(*lines: str, column: int | None = None, in_mode: bool = False) -> Screen:
    """Return a screen whose cursor stands behind its last row."""
    shown = tuple(line.rstrip() for line in lines)
    at = len(lines[-1]) if column is None else column
    return Screen((*shown, "", ""), "", (at, len(lines) - 1), in_mode=in_mode)


def feed(quiet: QuietScreen, *steps: tuple[float, Screen]) -> ProcessState:
    state = BUSY
    for now, shown in steps:
        state = quiet.feed(now, shown)
    return state


def at_python() -> QuietScreen:
    quiet = QuietScreen(2.0)
    assert feed(quiet, (0, screen(">>> ")), (2, screen(">>> "))) is IDLE
    return quiet


def test_it_waits_after_two_quiet_seconds() -> None:
    quiet = QuietScreen(2.0)
    assert quiet.feed(0, screen("Python 3", ">>> ")) is BUSY
    assert quiet.feed(1.9, screen("Python 3", ">>> ")) is BUSY
    assert quiet.feed(2.0, screen("Python 3", ">>> ")) is IDLE
    assert quiet.prompt == ">>> "
    assert quiet.typed == ""


def test_a_change_begins_the_wait_anew() -> None:
    quiet = QuietScreen(2.0)
    assert feed(quiet, (0, screen("a", ">>> ")), (1.5, screen("b", ">>> ")), (3, screen("b", ">>> "))) is BUSY
    assert quiet.feed(3.5, screen("b", ">>> ")) is IDLE


def test_quiet_without_the_prompt_is_work() -> None:
    quiet = at_python()
    assert feed(quiet, (3, screen(">>> slow()", "")), (60, screen(">>> slow()", ""))) is BUSY
    assert feed(quiet, (61, screen("... ")), (70, screen("... "))) is BUSY


def test_what_the_process_shows_counts() -> None:
    quiet = at_python()
    assert quiet.feed(10, screen(">>> "), working=True) is BUSY
    assert quiet.feed(10, screen(">>> ")) is IDLE


def test_a_person_who_scrolls_hides_the_screen() -> None:
    quiet = at_python()
    assert quiet.feed(10, screen(">>> ", in_mode=True)) is BUSY


def test_a_half_typed_line_is_seen() -> None:
    quiet = at_python()
    assert feed(quiet, (3, screen(">>> imp")), (6, screen(">>> imp"))) is IDLE
    assert quiet.typed == "imp"
    quiet.feed(7, screen(">>> imp", column=4))
    assert quiet.typed == "imp"
    quiet.feed(8, screen(">>> password"))
    assert quiet.feed(11, screen(">>> password")) is IDLE


def test_a_prompt_that_changes_its_text_is_learnt_again() -> None:
    quiet = QuietScreen(2.0)
    feed(quiet, (0, screen("~$ ")), (2, screen("~$ ")))
    assert feed(quiet, (3, screen("~$ cd x", "~/x$ ")), (5, screen("~$ cd x", "~/x$ "))) is IDLE
    assert quiet.prompt == "~/x$ "
    assert quiet.typed == ""


@pytest.mark.parametrize(
    "question", ["Overwrite? [y/n] ", "Continue?", "Delete it (yes/no)? ", "Password: ", "Enter passphrase for key: "]
)
def test_a_question_is_no_prompt(question: str) -> None:
    fresh = QuietScreen(2.0)
    assert feed(fresh, (0, screen(question)), (30, screen(question))) is WAITING
    quiet = at_python()
    assert feed(quiet, (3, screen(question)), (30, screen(question))) is WAITING


def test_a_first_prompt_may_end_in_a_colon_a_later_row_not() -> None:
    quiet = QuietScreen(2.0)
    assert feed(quiet, (0, screen("say: ")), (2, screen("say: "))) is IDLE
    quiet = at_python()
    assert feed(quiet, (3, screen("name: ")), (30, screen("name: "))) is BUSY


def test_a_program_without_a_prompt_must_rest_longer_at_first() -> None:
    quiet = QuietScreen(2.0)
    assert feed(quiet, (0, screen("")), (5, screen(""))) is BUSY
    assert quiet.feed(6, screen("")) is IDLE
    assert feed(quiet, (7, screen("echo", "")), (9, screen("echo", ""))) is IDLE
    assert feed(quiet, (10, screen("dr")), (12, screen("dr"))) is IDLE
    assert quiet.typed == "dr"


def test_a_prompt_that_comes_late_is_learnt() -> None:
    quiet = QuietScreen(2.0)
    feed(quiet, (0, screen("")), (6, screen("")))
    assert feed(quiet, (7, screen("ready> ")), (9, screen("ready> "))) is IDLE
    assert quiet.prompt == "ready> "


def test_the_cursors_row_gets_its_blanks_back() -> None:
    assert cursor_line(Screen((">>>",), cursor=(4, 0))) == Line(">>> ", "")
    assert cursor_line(Screen((">>> abc",), cursor=(5, 0))) == Line(">>> a", "bc")
    assert cursor_line(Screen((), cursor=(0, 3))) == Line("", "")


@pytest.mark.parametrize(
    ("before", "after", "said", "expected"),
    [
        ([">>> "], [">>> 1+1", "2", ">>> "], "1+1", "2"),
        (["old", ">>> "], ["old", ">>> x", ">>> "], "x", ""),
        ([">>> "], [">>> f()", "a", "", "b", ">>> "], "f()", "a\n\nb"),
        (["old", ">>> "], ["scrolled", "out", ">>> "], "gone()", "scrolled\nout"),
        ([">>> 1", "1", ">>> "], [">>> 1", "1", ">>> 1", "1", ">>> "], "1", "1"),
        ([">>> "], [">>> a", "x", ">>> b", "y", ">>> "], "a\nb", "y"),
    ],
)
def test_the_answer_is_what_came_since(before: list[str], after: list[str], said: str, expected: str) -> None:
    assert answer(Screen(tuple(before)), Screen((*after, "", "")), said, ">>> ") == expected


def test_the_answer_of_a_program_without_a_prompt() -> None:
    assert answer(Screen(("",)), Screen(("hello", "HELLO", "")), "hello", "") == "HELLO"
