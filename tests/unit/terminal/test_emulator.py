"""The small emulator: text in, screen out."""

from __future__ import annotations

import pytest

from relay_runner.terminal.base import Style
from relay_runner.terminal.emulator import Emulator


def screen(text: str, width: int = 20, height: int = 5) -> tuple[str, ...]:
    emulator = Emulator(width, height)
    emulator.feed(text)
    return emulator.screen().lines


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("one\r\ntwo", ["one", "two"]),
        ("a\tb", ["a       b"]),
        ("abc\rX", ["Xbc"]),
        ("abc\b\bX", ["aXc"]),
        ("abc\x1b[2DX", ["aXc"]),
        ("abc\x1b[1;1HX\x1b[KY", ["XY"]),
        ("one\r\ntwo\x1b[AX", ["oneX", "two"]),
        ("one\r\ntwo\x1b[2Jx", ["", "   x"]),
        ("one\r\ntwo\x1b[H\x1b[0J", [""]),
        ("one\r\ntwo\x1b[1J", [""]),
        ("abc\x1b[1G\x1b[2@", ["  abc"]),
        ("abc\x1b[1G\x1b[2P", ["c"]),
        ("a\r\nb\x1b[1;1H\x1b[L", ["", "a", "b"]),
        ("a\r\nb\x1b[1;1H\x1b[M", ["b"]),
        ("x" * 21, ["x" * 20, "x"]),
        ("1\r\n2\r\n3\r\n4\r\n5\r\n6", ["2", "3", "4", "5", "6"]),
        ("\x1b[31;1mred\x1b[0m \x1b(B\x1b=plain\x1bPq;junk\x1b\\", ["red plain"]),
        ("main\x1b[?1049hother\x1b[?1049l!", ["main!"]),
        ("漢字x", ["漢字x"]),
        ("e\u0301", ["e"]),
        ("a\x1b[\x01b", ["a[b"]),
        ("\x1b7ab\x1b8X", ["Xb"]),
    ],
)
def test_what_is_printed_stands_where_a_person_would_see_it(text: str, rows: list[str]) -> None:
    assert list(screen(text)) == rows + [""] * (5 - len(rows))


def test_a_sequence_may_be_cut_anywhere() -> None:
    text = "ab\x1b]0;a title\x07\x1b[?2004h\x1b[1;2HX\x1b(Bmore"
    whole = Emulator(20, 5)
    whole.feed(text)
    cut = Emulator(20, 5)
    for letter in text:
        cut.feed(letter)
    assert cut.screen() == whole.screen()
    assert cut.screen().title == "a title"
    assert cut.bracketed_paste


def test_the_program_says_whether_it_wants_brackets() -> None:
    emulator = Emulator(20, 5)
    assert not emulator.bracketed_paste
    emulator.feed("\x1b[?1;2004h")
    assert emulator.bracketed_paste
    emulator.feed("\x1b[?2004l")
    assert not emulator.bracketed_paste


def test_a_string_that_never_ends_does_not_stop_the_screen() -> None:
    emulator = Emulator(20, 5)
    emulator.feed("\x1b]0;" + "x" * 9000)
    emulator.feed("\r\nhere")
    assert "here" in emulator.screen().text


def test_the_cursor_is_told() -> None:
    emulator = Emulator(20, 5)
    emulator.feed(">>> ")
    assert emulator.screen().cursor == (4, 0)
    emulator.feed("x" * 16)
    assert emulator.screen().cursor == (19, 0)


def test_what_is_dim_or_reversed_is_told() -> None:
    emulator = Emulator(20, 3)
    emulator.feed("> \x1b[7mO\x1b[0;2mnc漢\x1b[0m!\x1b[2m\r\n\x1b[38;5;7mx\x1bc")
    emulator.feed("> \x1b[7mO\x1b[0;2mnc漢\x1b[0m!")
    shown = emulator.screen()
    assert shown.lines[0] == "> Onc漢!"
    assert shown.style(0) == bytes([0, 0, Style.REVERSE, Style.DIM, Style.DIM, Style.DIM, 0])
    assert shown.style(1) == b""
