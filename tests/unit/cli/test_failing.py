"""Whatever goes wrong ends in one line and an exit code, also where nobody reads any more."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from relay_runner.cli.failing import DEBUG_VARIABLE, guarded, ours
from relay_runner.errors import ConfigError, RelayRefused, RelayUnavailable

WAIT_S = 30.0


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEBUG_VARIABLE, raising=False)


def after(error: BaseException, *, as_json: bool = False, debug: bool = False) -> int:
    """Return what `guarded` makes of work that raises `error`."""

    def work() -> int:
        raise error

    return guarded(work, as_json=as_json, debug=debug)


def test_the_code_of_the_work_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: 3) == 3
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("no folder", hint="make it"), 2, "no folder: make it"),
        (RelayUnavailable("no relay"), 1, "no relay"),
        (FileNotFoundError(2, "No such file", "/x"), 1, "cannot use /x: No such file: --debug tells more"),
        (OSError(28, "No space left"), 1, "the system says no: No space left: --debug tells more"),
        (KeyError("x"), 1, "a bug of ours: KeyError: 'x': please report it with what --debug shows"),
        (ExceptionGroup("g", [KeyError("x"), ExceptionGroup("h", [ConfigError("no")])]), 2, "no"),
        (
            ExceptionGroup("g", [ExceptionGroup("h", [ValueError("x")]), OSError()]),
            1,
            "a bug of ours: ValueError: x: please report it with what --debug shows",
        ),
        (
            ExceptionGroup("g", [OSError(28, "No space left", "/x")]),
            1,
            "cannot use /x: No space left: --debug tells more",
        ),
    ],
)
def test_an_error_is_one_line_and_a_code(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert after(error) == code
    assert capsys.readouterr() == ("", f"relay-runner: {line}\n")


def test_ctrl_c_needs_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert after(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


def test_where_json_was_asked_for_a_bug_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert after(ExceptionGroup("g", [KeyError("x")]), as_json=True) == 1
    said, noted = capsys.readouterr()
    assert json.loads(said)["error"]["message"] == "a bug of ours: KeyError: 'x'"
    assert noted == ""


def test_debug_shows_where_a_foreign_error_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    after(ExceptionGroup("of a task", [KeyError("x"), ValueError("y")]), debug=True)
    noted = capsys.readouterr().err
    assert all(word in noted for word in ("of a task", "KeyError: 'x'", "ValueError: y", "in work\n"))


@pytest.mark.parametrize(("value", "shown"), [("1", True), ("0", False), ("", False)])
def test_debug_can_be_set_in_the_environment(
    value: str, shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DEBUG_VARIABLE, value)
    after(ConfigError("no"))
    assert ("Traceback" in capsys.readouterr().err) is shown


def test_an_error_of_ours_stays_what_it_is() -> None:
    error = RelayRefused("no", status=403)
    assert ours(error) is error
    assert ours(ExceptionGroup("g", [OSError(), error])) is error
    foreign = OSError(28, "No space left")
    assert ours(foreign).__cause__ is foreign


def run(
    body: str, *, unread: str = "", as_json: bool = False, terminal: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run guarded work in a process of its own; the stream called `unread` is a pipe or a terminal without a reader."""
    code = "import subprocess, sys\nfrom relay_runner.cli import output\nfrom relay_runner.cli.failing import guarded\n"
    code += f"from relay_runner.errors import ConfigError\ndef work():\n    {body}\n    return 4\n"
    code += f"sys.exit(guarded(work, as_json={as_json}))\n"
    reading, writing = os.openpty() if terminal else os.pipe()
    os.close(reading)
    streams = {name: writing if name == unread else subprocess.PIPE for name in ("stdout", "stderr")}
    try:
        return subprocess.run([sys.executable, "-c", code], text=True, timeout=WAIT_S, check=False, **streams)
    finally:
        os.close(writing)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_reader_that_went_away_is_no_error(terminal: bool) -> None:
    done = run("output.say('hello')", unread="stdout", terminal=terminal)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("terminal", [False, True])
def test_an_error_that_nobody_reads_keeps_its_code(terminal: bool) -> None:
    done = run("raise ConfigError('no')", unread="stdout", as_json=True, terminal=terminal)
    assert (done.returncode, done.stderr) == (2, "")
    done = run("raise ConfigError('no')", unread="stderr", terminal=terminal)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_pipe_that_broke_elsewhere_is_an_error() -> None:
    dead = "gone = subprocess.Popen(['true'], stdin=subprocess.PIPE, bufsize=0); gone.wait(); gone.stdin.write(b'x')"
    done = run(dead)
    assert done.returncode == 1
    assert done.stderr == "relay-runner: the system says no: Broken pipe: --debug tells more\n"
