"""The commands, their help, and how every error ends."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from relay_runner.cli import app
from relay_runner.errors import RelayRefused, RelayUnavailable

COMMANDS = [(name, *entry) for commands in app.SECTIONS.values() for name, entry in commands.items()]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELAY_RUNNER_HOME", str(tmp_path))
    monkeypatch.delenv("RELAY_RUNNER_DEBUG", raising=False)
    return tmp_path


@pytest.mark.parametrize(("name", "module", "text"), COMMANDS, ids=lambda value: value.split()[0])
def test_the_table_says_what_each_command_says_of_itself(name: str, module: str, text: str) -> None:
    if name in ("relay", "task", "profile"):  # groups, each with a help of its own
        return
    function = getattr(import_module(f"relay_runner.cli.{module}"), name)
    assert (inspect.getdoc(function) or "").splitlines()[0] == text


@pytest.mark.parametrize(
    "command",
    [[], *([name] for name, _, _ in COMMANDS), *(["relay", name] for name in ("serve", "status", "stop", "restart"))],
    ids=" ".join,
)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([*command, "--help"]) == 0
    said, noted = capsys.readouterr()
    assert "Usage: relay-runner" in said and noted == ""


def _options(command: Any) -> set[tuple[str, ...]]:
    """Return the spellings of every option of a command, or of all in a group."""
    found = {tuple(param.opts) for param in command.params if param.opts[0].startswith("-")}
    return found.union(*map(_options, getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_the_readme_names_every_command_and_option(name: str) -> None:
    told = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"`(?:[^`|]*, )?{name}\b", told)
    options = _options(app.LazyCommands()[name])
    assert {
        names for names in options if not any(re.search(rf"(?<![\w-]){one}\b(?!-)", told) for one in names)
    } == set()


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from relay_runner.cli.app import run; run(['--help']);"
        "print(sorted({'httpx', 'starlette', 'uvicorn', 'libtmux', 'websockets', 'msgspec', 'rich', 'asyncio', 'jwt'}"
        " & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert "Exit codes" in done.stdout


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([]) == 0
    assert "Messages:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["strat"], "no such command 'strat'; did you mean 'start'"),
        (["ps", "x"], "unexpected argument: x: see `relay-runner ps --help`"),
        (["ps", "--jsn"], "no such option: --jsn; did you mean --json?: see"),
        (["revert", "bob", "0"], "invalid value for N: must be at least 1: see"),
        (["logs", "bob", "-n", "x"], "invalid value for --lines: not a whole number: see"),
        (["inbox", "-n", "2000"], "invalid value for --limit: must be at most 1000: see"),
        (["send"], "missing argument 'TO': see `relay-runner send --help`"),
        (["send", "bob", "x", "--nope"], "no such option: --nope"),
        (["send", "bob", "x", "--timeout", "soon"], "invalid value for --timeout: not a number"),
        (["send", "bob", ""], "the message is empty"),
        (["send", "bob", "x" * (1024 * 1024 + 1)], "larger than 1 MiB"),
        (["send", "B!b", "x"], "not an agent id"),
        (["send", "bob", "x", "--timing", "now"], "unknown timing"),
        (["start", "nope"], "unknown provider 'nope'"),
        (["start", "clade"], "did you mean claude"),
        (["attach", "bob"], "no agent bob ran on this machine"),
        (["stop", "B!b"], "cannot be an agent id"),
        (["logs", "bob"], "no agent bob"),
        (["relay", "dance"], "no such command 'dance'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("relay-runner: ") and said in err and err.count("\n") == 1


def test_with_json_errors_are_objects_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["send", "bob", "", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "usage" and err == ""


def test_json_after_the_dashes_is_somebody_else_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["start", "nope", "--", "--json", "--debug"]) == 2
    assert capsys.readouterr().err.startswith("relay-runner: unknown provider")


@pytest.mark.parametrize("argv", [["--debug", "send", "bob", ""], ["send", "bob", "", "--debug"]])
def test_debug_adds_the_traceback_wherever_it_stands(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(argv) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and err.endswith("stdin\n")


def test_debug_by_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RELAY_RUNNER_DEBUG", "1")
    app.run(["send", "bob", ""])
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("RELAY_RUNNER_DEBUG", "0")
    app.run(["send", "bob", ""])
    assert "Traceback" not in capsys.readouterr().err


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """Run a command that raises `error`."""

    def fail(**_: object) -> None:
        raise error

    made = app.LazyCommands()["version"]
    monkeypatch.setattr(made, "callback", fail)
    monkeypatch.setattr(app.LazyCommands, "__getitem__", lambda self, name: made)
    return app.run(["version"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RelayUnavailable("no relay", hint="wait"), 1, "no relay: wait"),
        (ExceptionGroup("two", [ExceptionGroup("one", [RelayRefused("no")])]), 1, "no"),
        (PermissionError(13, "Permission denied", "/x"), 1, "cannot use /x: Permission denied"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_every_error_ends_in_a_line_and_a_code(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(monkeypatch, error) == code
    assert said in capsys.readouterr().err


def test_a_bug_is_told_as_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(monkeypatch, ZeroDivisionError("division by zero")) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m relay_runner --help | head -n 1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage") and done.stderr == ""
