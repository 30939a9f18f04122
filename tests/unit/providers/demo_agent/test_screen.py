"""What the demo agent draws, as the terminal gets it."""

from __future__ import annotations

import os
import pty
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay_runner.providers.demo_agent import screen
from relay_runner.providers.demo_agent.screen import PROMPT, Screen, raw_terminal
from relay_runner.terminal.emulator import Emulator

WIDTH = 30
Drawn = Callable[[], Emulator]


@pytest.fixture
def drawn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Give a function that returns the terminal of a person, with everything that was drawn up to now."""
    monkeypatch.setattr(screen, "_width", lambda: WIDTH)
    emulator = Emulator(WIDTH, 6)

    def look() -> Emulator:
        emulator.feed(capsys.readouterr().out)
        return emulator

    return look


def rows(emulator: Emulator) -> list[str]:
    return [line for line in emulator.screen().lines if line]


def test_lines_scroll_above_the_line_at_the_bottom(drawn: Drawn) -> None:
    shown = Screen("bob")
    shown.input("half typed")
    shown.line("one\ntwo")
    shown.input("half typed")
    assert rows(drawn()) == ["one", "two", "demo> half typed"]


def test_the_bottom_line_is_drawn_over(drawn: Drawn) -> None:
    shown = Screen("bob")
    shown.working("a long piece of work", 0)
    shown.input("x")
    assert rows(drawn()) == ["demo> x"]
    shown.input("")
    assert rows(drawn()) == ["demo>"]


def test_a_long_draft_shows_its_end_on_one_line(drawn: Drawn) -> None:
    Screen("bob").input("begin " + "x" * 100 + " end")
    [row] = rows(drawn())
    assert row.startswith(PROMPT + "…x") and row.endswith("x end") and len(row) < WIDTH


def test_a_draft_of_several_lines_stays_on_one(drawn: Drawn) -> None:
    Screen("bob").input("a\nb\tc")
    assert rows(drawn()) == ["demo> a⏎b c"]


@pytest.mark.parametrize("length", [5, 100])
def test_work_and_questions_fit_on_one_line(drawn: Drawn, length: int) -> None:
    shown = Screen("bob")
    shown.working("w" * length, 0)
    assert len(rows(drawn())) == 1
    shown.question("q" * length)
    assert len(rows(drawn())) == 1


def test_the_spinner_turns(drawn: Drawn) -> None:
    shown = Screen("bob")
    seen = []
    for step in range(5):
        shown.working("w", step)
        seen.append(rows(drawn())[0][0])
    assert seen[0] == seen[4] and len(set(seen)) == 4


def test_the_title_says_who_and_what_it_does(drawn: Drawn) -> None:
    shown = Screen("bob")
    for draw, state in (
        (lambda: shown.input(""), "idle"),
        (lambda: shown.working("w", 0), "busy"),
        (lambda: shown.question("q"), "waiting"),
    ):
        draw()
        assert drawn().screen().title == f"bob: {state}"


def test_nothing_that_it_shows_can_move_the_cursor(drawn: Drawn, capsys: pytest.CaptureFixture[str]) -> None:
    nasty = "a\x1b[2J\x07\x9b1;1Hb\rc\u202e"
    shown = Screen(nasty)
    for draw in (shown.line, shown.input, shown.question, lambda text: shown.working(text, 0)):
        draw(nasty)
        written = capsys.readouterr().out
        assert written.count("\x1b") == written.count("\x1b[K") + written.count("\x1b]2;")
        assert "\x9b" not in written and "\u202e" not in written and "b\rc" not in written
        assert "a [2J" in written


@pytest.fixture
def terminal() -> Iterator[int]:
    """Give the program's end of a terminal."""
    ours, theirs = pty.openpty()
    yield theirs
    os.close(theirs)
    os.close(ours)


def test_keys_come_one_by_one_and_the_terminal_is_put_back(terminal: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = termios.tcgetattr(terminal)
    with pytest.raises(ZeroDivisionError), raw_terminal(terminal):
        during = termios.tcgetattr(terminal)
        assert capsys.readouterr().out == "\x1b[?2004h"
        raise ZeroDivisionError
    assert not during[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    assert not during[0] & (termios.ICRNL | termios.IXON)
    assert during[1] == before[1]
    assert termios.tcgetattr(terminal) == before
    assert capsys.readouterr().out == "\x1b[?2004l"


def test_the_width_is_the_terminal_s(terminal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with os.fdopen(os.dup(terminal), "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        termios.tcsetwinsize(terminal, (24, 33))
        assert screen._width() == 33
        termios.tcsetwinsize(terminal, (0, 0))
        assert screen._width() == 80
        monkeypatch.undo()


def test_what_is_no_terminal_is_80_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert screen._width() == 80
        monkeypatch.undo()
