"""Nothing that came from elsewhere reaches a terminal as more than text."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_runner.cli import output
from relay_runner.errors import ConfigError

NASTY = "red \x1b[31m[bold]b[/bold]\x07 \x9b2J\rtop\nnext"


class Tty(io.StringIO):
    """A stdout that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Say yes."""
        return True


def test_say_and_note_strip_control_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(NASTY)
    output.note(NASTY)
    said, noted = capsys.readouterr()
    assert said == "red [31m[bold]b[/bold] 2J\ntop\nnext\n"
    assert noted == "relay-runner: " + said


def test_a_table_in_a_pipe_is_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("id", "text"), [(1, NASTY), (22, None)], empty="nothing")
    assert capsys.readouterr().out == "ID  TEXT\n1   red [31m[bold]b[/bold] 2J top next\n22\n"


def test_an_empty_table_says_so_beside_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("id",), [], empty="no agents")
    assert capsys.readouterr() == ("", "relay-runner: no agents\n")


def test_a_table_on_a_terminal_takes_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Tty()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output.table(("agent", "status", "why"), [("bob", "idle", NASTY + " :smile:")], empty="nothing")
    drawn = screen.getvalue()
    assert "[bold]b[/bold]" in drawn and ":smile:" in drawn
    assert "\x1b[31m" not in drawn and "\x07" not in drawn and "\x9b" not in drawn


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="[]/bold red:smile=\\@#x", min_size=1, max_size=30).map(str.strip).filter(bool))
def test_no_text_is_markup_in_a_table(text: str) -> None:
    with contextlib.redirect_stdout(Tty()) as screen:
        output.table(("a",), [(f"x{text}y",)], empty="nothing")
    assert f"x{' '.join(text.split())}y" in screen.getvalue()


def test_nothing_in_a_line_reorders_or_is_cut_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.line("a\u202eb\u200b") == "a\\u202eb\\u200b"
    assert output.line("x" * 300 + "end").endswith("xend") and " cut]… " in output.line("x" * 300 + "end")
    output.say("a\u2066b")
    assert capsys.readouterr().out == "a\\u2066b\n"


def test_what_is_asked_shows_its_newlines_and_controls() -> None:
    assert output.asked("pytest -q # then\nrm -rf ~\x1b[8m") == "pytest -q # then ⏎ rm -rf ~\\x1b[8m"
    assert output.whole("one\n\ttwo\x7f") == "one\n\ttwo\\x7f"


@given(st.text())
def test_json_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    with contextlib.redirect_stdout(Tty()) as screen:
        output.say_json({"a": text, text: ["\x7f\x9b2J\u202e\u2028"]})
    said = screen.getvalue()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", said)
    assert json.loads(said) == {"a": text, text: ["\x7f\x9b2J\u202e\u2028"]}


def test_json_is_indented_for_people_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    output.say_json({"a": "é\x1b"})
    assert capsys.readouterr().out == '{"a": "é\\u001b"}\n'
    screen = Tty()
    monkeypatch.setattr(sys, "stdout", screen)
    output.say_json({"a": 1})
    assert screen.getvalue() == '{\n  "a": 1\n}\n'


def test_a_terminal_without_utf8_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    output.say("é 😀")
    output.say_json({"a": "é"})
    assert raw.getvalue() == b'\\xe9 \\U0001f600\n{"a": "\\u00e9"}\n'


def test_an_error_is_one_line_or_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    error = ConfigError("no folder \x1b[1m x", hint="make it")
    output.fail(error, as_json=False, debug=False)
    assert capsys.readouterr() == ("", "relay-runner: no folder [1m x: make it\n")
    output.fail(error, as_json=True, debug=True)
    said, noted = capsys.readouterr()
    assert json.loads(said) == {"error": {"code": "usage", "message": "no folder \x1b[1m x", "hint": "make it"}}
    assert "ConfigError" in noted


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, "-"),
        (0, "-"),
        (1000.0, "0s"),
        (1001.0, "0s"),
        (988.5, "11s"),
        (940.0, "1m"),
        (-5000.0, "1h"),
        (-200000.0, "2d"),
    ],
)
def test_ages_read_well(at: float | None, text: str) -> None:
    assert output.age(at, now=1000.0) == text
