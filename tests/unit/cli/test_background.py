"""What a runner in the background tells the one who started it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.cli import background, choices, service
from relay_runner.cli.background import Kind, Line, Report
from relay_runner.errors import ConfigError, RelayRunnerError
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.wire import encode
from relay_runner.runner.options import RunnerOptions

INFO = RunnerInfo(
    agent_id="bob", runner_id="r", instance_id="i", provider="demo", control_url="u", pid=1, started_at=1.0, cwd="/"
)
Talk = Callable[[bytes, str], Report]


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Give a function that starts a process which writes bytes to a report's pipe and then runs a line of Python."""
    started: list[tuple[subprocess.Popen[bytes], int]] = []

    def run(said: bytes, then: str) -> Report:
        reading, writing = os.pipe()
        code = f"import os, sys, time; os.write({writing}, {said!r}); {then}"
        process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[writing])
        os.close(writing)
        started.append((process, reading))
        return Report(process, reading)

    yield run
    for process, reading in started:
        process.kill()
        process.wait()
        os.close(reading)


def lines(*told: Line) -> bytes:
    return b"".join(encode(one) + b"\n" for one in told)


def test_notes_are_passed_on_until_the_terminal_is_there(talk: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    report = talk(
        lines(Line(kind=Kind.NOTE, text="no relay \x1b[1m"), Line(kind=Kind.OPEN, info=INFO)), "time.sleep(600)"
    )
    report.wait_open("bob")
    assert report.info == INFO
    assert capsys.readouterr().err == "relay-runner: no relay [1m\n"
    assert report.next(0.0) is None


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        (
            Line(kind=Kind.ERROR, text="no folder", hint="make it", exit=2, code="usage"),
            ConfigError,
            "no folder: make it",
        ),
        (Line(kind=Kind.ERROR, text="no claude", exit=1, code="provider-not-found"), RelayRunnerError, "no claude"),
        (Line(kind=Kind.EXIT, text="it crashed", exit=1), RelayRunnerError, "it crashed: see `relay-runner logs bob`"),
    ],
)
def test_what_keeps_it_from_starting_is_raised_here(
    talk: Talk, line: Line, kind: type[RelayRunnerError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        talk(lines(line), "time.sleep(600)").wait_open("bob")
    assert str(caught.value) == said
    assert type(caught.value) is kind and caught.value.code == (line.code or "provider-exited")


def test_a_runner_that_dies_without_a_word_is_told(talk: Talk) -> None:
    with pytest.raises(RelayRunnerError, match=r"without a word \(exit code 7\)"):
        talk(b"", "sys.exit(7)").wait_open("bob")
    with pytest.raises(RelayRunnerError, match="killed"):
        talk(b"", "os.kill(os.getpid(), 9)").wait_open("bob")


def test_lines_may_come_in_pieces(talk: Talk) -> None:
    whole = lines(Line(kind=Kind.NOTE, text="x" * 1000), Line(kind=Kind.EXIT, text="bye", exit=3))
    report = talk(whole, "time.sleep(600)")
    first, second = report.next(30.0), report.next(30.0)
    assert first is not None and first.text == "x" * 1000
    assert second is not None and (second.kind, second.exit) == (Kind.EXIT, 3)


def test_a_runner_that_cannot_start_says_so_through_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.HOME_VARIABLE, str(tmp_path / "home"))
    options = RunnerOptions(agent_id="bob", provider="nope", cwd=tmp_path, prompt="secret words")
    with pytest.raises(ConfigError, match="unknown provider 'nope'"):
        background.launch(choices.Request(options), config.paths())
    log = tmp_path / "home" / "agents" / "bob" / "runner.log"
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_runner_that_dies_before_it_reads_its_request_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(config.HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(service, "PROGRAM", (sys.executable, "-c", "import sys; sys.exit(7)"))
    options = RunnerOptions(agent_id="bob", provider="demo", cwd=tmp_path, prompt="more than a pipe holds " * 10_000)
    with pytest.raises(RelayRunnerError, match=r"without a word \(exit code 7\)"):
        background.launch(choices.Request(options), config.paths())
