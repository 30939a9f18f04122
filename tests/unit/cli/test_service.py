"""A runner's own process: how the request comes in, what it reports, and what it never loads."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relay_runner import config
from relay_runner.cli import choices, compose, service
from relay_runner.cli.choices import Request
from relay_runner.cli.service import Kind, Line
from relay_runner.errors import ConfigError
from relay_runner.protocol.wire import decode
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.lock import AgentLock
from relay_runner.runner.options import RunnerOptions
from tests.unit.cli.conftest import World
from tests.unit.test_log import clean_root

__all__ = ["clean_root"]
WAIT_S = 30.0
NOWHERE = "http://127.0.0.1:1"
"""A relay that never answers: the runner says so, and goes on asking."""
SECRET = "the prompt is nobody's business"


@pytest.fixture
def relayed(world: World, clean_root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> World:
    """Give a world in which whoever asks for the relay gets a connection of his own, as over the real one."""
    monkeypatch.setattr(compose, "relay_at", lambda found: MemoryRelay(world.hub))
    return world


@dataclass
class Started:
    """A runner's own process, and its report."""

    process: subprocess.Popen[bytes]
    report: io.BufferedReader

    def lines(self) -> list[Line]:
        """Return the whole report, when the process has ended."""
        return [decode(line, Line) for line in self.report]

    def said(self) -> str:
        """Return what it said on stderr, when it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Paths:
    """Give a home that this test and its processes use."""
    monkeypatch.setenv(config.HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(config.INSIDE_VARIABLE, raising=False)
    paths = config.paths()
    config.private_dir(paths.state)
    return paths


@pytest.fixture
def spawn(home: config.Paths) -> Iterator[Any]:
    """Give a function that starts a process with a report's pipe (its number follows `words`), and ends it after."""
    started: list[Started] = []

    def run(*words: str, stdin: bytes = b"") -> Started:
        reading, writing = os.pipe()
        process = subprocess.Popen(
            [*words, str(writing), "bob"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[writing]
        )
        os.close(writing)
        started.append(Started(process, os.fdopen(reading, "rb")))
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(stdin)
        return started[-1]

    yield run
    for one in started:
        one.process.kill()
        one.process.wait()
        one.report.close()
        assert one.process.stderr is not None
        one.process.stderr.close()


def request(folder: Path, **fields: Any) -> Request:
    options = {"agent_id": "bob", "provider": "nope", "cwd": folder, "prompt": SECRET, **fields}
    relay = NOWHERE if options["provider"] != "nope" else None
    return Request(RunnerOptions(**options), relay_url=relay, tmux=False)


# --- in the background ------------------------------------------------------------------------------------------------


def test_what_keeps_it_from_starting_is_on_the_report(spawn: Any, home: config.Paths, tmp_path: Path) -> None:
    started = spawn(*service.PROGRAM, service.BACKGROUND, stdin=choices.encode(request(tmp_path)))
    assert started.process.wait(WAIT_S) == 2
    [line] = started.lines()
    assert (line.kind, line.text, line.code, line.exit) == (Kind.ERROR, "unknown provider 'nope'", "usage", 2)
    assert line.hint and started.said() == f"relay-runner: {line.text}: {line.hint}\n"
    assert home.agent("bob").log.stat().st_mode & 0o777 == 0o600


def test_a_request_that_was_cut_is_told_as_a_bug(spawn: Any, tmp_path: Path) -> None:
    started = spawn(*service.PROGRAM, service.BACKGROUND, stdin=choices.encode(request(tmp_path))[:-9])
    assert started.process.wait(WAIT_S) == 1
    [line] = started.lines()
    assert line.kind is Kind.ERROR and line.text.startswith("a bug of ours: DecodeError")


def test_notes_come_while_it_still_starts(spawn: Any, tmp_path: Path) -> None:
    started = spawn(*service.PROGRAM, service.BACKGROUND, stdin=choices.encode(request(tmp_path, provider="demo")))
    first, second = (decode(started.report.readline(), Line) for _ in range(2))
    assert first.kind is Kind.NOTE and "plain pty" in first.text
    assert second.kind is Kind.NOTE and "trying until it answers" in second.text
    assert SECRET.encode() not in Path(f"/proc/{started.process.pid}/cmdline").read_bytes()
    started.process.terminate()
    assert started.process.wait(WAIT_S) == -signal.SIGTERM
    assert started.lines() == [] and started.said() == ""


def test_it_goes_on_when_nobody_reads_the_report(home: config.Paths, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [*service.PROGRAM, service.BACKGROUND, str(writing), "bob"]
    ended = subprocess.run(
        words, input=choices.encode(request(tmp_path)), stderr=subprocess.PIPE, pass_fds=[writing], check=False
    )
    os.close(writing)
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"relay-runner: unknown provider 'nope'")


def in_background(monkeypatch: pytest.MonkeyPatch, request: Request) -> tuple[int | Exception, list[Line]]:
    """Run a background runner in this process, on the relay in memory; return what came of it, and the report."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(choices.encode(request))))
    reading, writing = os.pipe()
    ended: int | Exception
    try:
        ended = service.in_background(writing)
    except Exception as error:
        ended = error
    os.close(writing)
    with os.fdopen(reading, "rb") as report:
        return ended, [decode(line, Line) for line in report]


def test_a_whole_life_is_reported_and_logged_once(
    relayed: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = request(tmp_path, provider="demo", prompt="exit 3")
    ended, (note, opened, last) = in_background(monkeypatch, asked)
    assert ended == last.exit != 0
    assert (note.kind, opened.kind, last.kind) == (Kind.NOTE, Kind.OPEN, Kind.EXIT)
    assert opened.info is not None and (opened.info.agent_id, opened.info.pid) == ("bob", os.getpid())
    assert "exit code 3" in last.text
    logged = relayed.paths.agent("bob").log.read_text().splitlines()
    assert len(logged) == len(set(logged)) > 0
    assert relayed.capsys.readouterr().err == ""  # which is the log file, where a real one runs


def test_an_error_out_of_a_running_runner_is_on_the_report(
    relayed: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock = relayed.paths.agent("bob").lock
    config.private_dir(lock.parent)
    with AgentLock(lock, "bob"):
        raised, lines = in_background(monkeypatch, request(tmp_path, provider="demo"))
    assert isinstance(raised, ConfigError)
    assert (lines[-1].kind, lines[-1].exit, lines[-1].code) == (Kind.ERROR, 2, "usage")
    assert lines[-1].text.startswith("agent bob is live already") and lines[-1].hint


# --- in the foreground ------------------------------------------------------------------------------------------------

BECOME = """
import os, sys
from relay_runner.cli import choices, service
print(os.getpid(), flush=True)
service.become(choices.decode(sys.stdin.buffer.read()))
"""


def become(request: Request) -> subprocess.Popen[bytes]:
    """Start a process that becomes the runner's, and check that it says its pid first."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", BECOME], stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin is not None and process.stdout is not None
    with process.stdin:
        process.stdin.write(choices.encode(request))
    assert int(process.stdout.readline()) == process.pid
    return process


def test_a_process_becomes_the_runner_s(home: config.Paths, tmp_path: Path) -> None:
    # More than a pipe or a command line could hold.
    with become(request(tmp_path, provider="demo", prompt=SECRET * 10_000)) as process:
        assert process.stderr is not None
        said = [process.stderr.readline().decode() for _ in range(2)]
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        still_open = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
        process.terminate()
    assert "plain pty" in said[0] and "trying until it answers" in said[1]
    assert [os.fsdecode(word) for word in words[: len(service.PROGRAM) + 1]] == [*service.PROGRAM, service.FOREGROUND]
    assert words[-2] == b"bob" and SECRET.encode() not in b" ".join(words)
    assert not [file for file in still_open if "relay-runner-request" in file]


def test_in_the_foreground_an_error_is_on_stderr(home: config.Paths, tmp_path: Path) -> None:
    with become(request(tmp_path)) as process:
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 2
    assert said.startswith(b"relay-runner: unknown provider 'nope'") and said.count(b"\n") == 1


def test_in_the_foreground_the_end_is_told(relayed: World, tmp_path: Path) -> None:
    descriptor = os.memfd_create("request")
    os.write(descriptor, choices.encode(request(tmp_path, provider="demo", prompt="exit 3")))
    os.lseek(descriptor, 0, os.SEEK_SET)
    code = service.in_foreground(descriptor)
    *_, last = relayed.capsys.readouterr().err.splitlines()
    assert code != 0 and last.startswith("relay-runner: bob ended: ") and "exit code 3" in last


# --- what it costs ----------------------------------------------------------------------------------------------------

LOADED = """
import sys
from relay_runner.cli import compose, service
from relay_runner.relay.endpoint import fixed
import relay_runner.runner.runner
compose.relay_at(compose.RelayAccess("http://127.0.0.1:1", "", fixed("http://127.0.0.1:1", ""), embedded=True))
for name in compose.PROVIDERS:
    compose.provider(name)
for kind in ("tmux", "pty"):
    compose.terminals_of(service.config.paths(), kind)
print(*sys.modules)
"""


def test_it_never_loads_what_only_a_command_line_needs(home: config.Paths) -> None:
    """Every module of a runner's is loaded, and none of these."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=WAIT_S, check=True)
    modules = set(done.stdout.split())
    assert {"httpx", "relay_runner.runner.runner", "relay_runner.terminal.tmux"} <= modules
    assert not {"typer", "rich", "pydantic", "libtmux", "jwt", "relay_runner.cli.app"} & modules
