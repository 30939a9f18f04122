"""Reading what tmux says of a pane."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.terminal.base import TAIL_CHARS, Style
from relay_runner.terminal.screen import parse_capture, restyled


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


def test_how_a_row_is_drawn_comes_with_it() -> None:
    screen = parse_capture("0|0|2|0|\n\x1b[39m> \x1b[7mO\x1b[0;2m\x1b[39mnce fixed\x1b[0m \nplain\n")
    assert screen.lines == ("> Once fixed", "plain")
    assert screen.style(0) == bytes([0, 0, Style.REVERSE, *[Style.DIM] * 9])
    assert screen.style(1) == bytes(5)


def test_a_style_goes_on_in_the_next_row() -> None:
    screen = parse_capture("0|0|0|0|\n\x1b[2mone\n\ntwo\x1b[0m!\n")
    assert [screen.style(row) for row in range(3)] == [b"\1\1\1", b"", b"\1\1\1\0"]


@pytest.mark.parametrize(
    ("numbers", "style"),
    [
        ("2", Style.DIM),
        ("0;2", Style.DIM),
        ("2;0", Style(0)),
        ("", Style(0)),
        ("2;7", Style.DIM | Style.REVERSE),
        ("2;7;22", Style.REVERSE),
        ("2;7;27", Style.DIM),
        ("38;5;2", Style(0)),
        ("38;2;7;2;7;2", Style.DIM),
        ("48;5;7;7", Style.REVERSE),
        ("38:2::7:2:7", Style(0)),
        ("1;31", Style(0)),
    ],
)
def test_the_numbers_of_a_colour_are_no_style(numbers: str, style: Style) -> None:
    assert restyled(Style(0), numbers) == style


@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1),
            st.from_regex(re.compile(r"\A\x1b\[[0-9;:]{0,12}m\Z", re.ASCII)),
            st.sampled_from(["\x0e", "\x0f", "\x1b]8;;http://x\x1b\\", "\x1b]8;;\x07"]),
        )
    )
)
def test_what_stands_between_the_characters_is_no_part_of_a_row(pieces: list[str]) -> None:
    screen = parse_capture("0|0|0|0|\n" + "".join(pieces) + "\n")
    assert screen.lines == ("".join(piece for piece in pieces if piece[0] not in "\x1b\x0e\x0f").rstrip(),)
    assert len(screen.style(0)) == len(screen.lines[0])
