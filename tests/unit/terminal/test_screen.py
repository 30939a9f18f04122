"""Reading what tmux says of a pane."""

from __future__ import annotations

from relay_runner.terminal.base import TAIL_CHARS
from relay_runner.terminal.screen import parse_capture


def test_the_rows_come_without_their_trailing_blanks() -> None:
    screen = parse_capture("0|0|3|1|a|title|with bars\none  \n> x\n\n")
    assert screen.lines == ("one", "> x", "")
    assert screen.cursor == (3, 1)
    assert screen.title == "a|title|with bars"
    assert not screen.dead
    assert not screen.in_mode


def test_a_dead_pane_in_copy_mode_is_both() -> None:
    screen = parse_capture("1|2|0|0|\n\n")
    assert screen.dead
    assert screen.in_mode
    assert screen.title == ""


def test_what_goes_into_an_error_is_bounded() -> None:
    screen = parse_capture("0|0|0|0||\n" + "\n".join(str(row % 10) * 500 for row in range(30)) + "\n")
    assert screen.tail(2) == "8" * 500 + "\n" + "9" * 500
    assert len(screen.tail()) == TAIL_CHARS and screen.tail().endswith("9" * 500)
