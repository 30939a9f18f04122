"""Help and arguments in a person's words."""

from __future__ import annotations

import re

import pytest

from relay_runner.cli import app, words
from tests.unit.cli.test_app import COMMANDS


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_no_help_shows_a_python_type(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert not re.search(r"<|>\s|\{|\[\[", said), said


def test_a_range_is_not_written_into_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["send", "--help"]) == 0
    assert "[default: 600.0]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "usage"),
    [("start", "[OPTIONS] [PROVIDER] [-- ARGS...]"), ("send", "[OPTIONS] TO TEXT"), ("read", "[OPTIONS] ID")],
)
def test_the_usage_line_is_plain(name: str, usage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([name, "--help"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"Usage: relay-runner {name} {usage}"


@pytest.mark.parametrize("text", ["abc", "0", "1.5", "\u00b2"])
def test_what_is_no_number_is_said_so(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["read", text]) == 2
    said = f"relay-runner: '{text}' is not a message number: see `relay-runner read --help`\n"
    assert capsys.readouterr().err == said


def test_a_number_is_read() -> None:
    assert words.number("41") == 41
