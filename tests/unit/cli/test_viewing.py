"""How an agent is introduced, and what is said when its terminal is gone from the screen."""

from __future__ import annotations

import os
import sys
import termios
from pathlib import Path

import pytest
from msgspec import structs

from relay_runner import config
from relay_runner.cli import viewing
from relay_runner.errors import ConfigError, RelayRunnerError
from relay_runner.protocol.control import RunnerInfo
from tests.harness import forget_short_path

INFO = RunnerInfo(
    agent_id="bob", runner_id="r", instance_id="i", provider="demo", control_url="u", pid=1, started_at=1.0, cwd="/"
)


def with_attach(*command: str) -> RunnerInfo:
    return RunnerInfo(**{**{name: getattr(INFO, name) for name in INFO.__struct_fields__}, "attach": command})


@pytest.fixture
def paths(tmp_path: Path) -> config.Paths:
    return config.paths({config.HOME_VARIABLE: str(tmp_path)})


def installed(folder: Path) -> Path:
    folder.mkdir()
    (folder / "relay-runner").write_text("#!/bin/sh\n")
    (folder / "relay-runner").chmod(0o755)
    return folder / "relay-runner"


def test_the_program_is_named_as_it_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, other = installed(tmp_path / "a b"), installed(tmp_path / "other")
    monkeypatch.setattr(sys, "argv", [str(ours)])
    monkeypatch.setenv("PATH", str(ours.parent))
    assert viewing.program() == "relay-runner"
    monkeypatch.setenv("PATH", str(other.parent))
    assert viewing.program() == f"'{ours}'"
    monkeypatch.setattr(sys, "argv", ["/x/relay_runner/__main__.py"])
    assert viewing.program().endswith(" -m relay_runner")


def test_an_agent_is_introduced_with_lines_that_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(viewing, "program", lambda: "rr")
    viewing.introduce(with_attach("tmux"))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "bob is up (demo, pid 1)"
    assert [line.split(maxsplit=1) for line in said[1:]] == [
        ["send", 'rr send bob "hello" --wait'],
        ["attach", "rr attach bob"],
        ["detach", "Ctrl-] d"],
        ["logs", "rr logs bob"],
        ["stop", "rr stop bob"],
    ]
    viewing.introduce(INFO)
    assert "tach" not in capsys.readouterr().out


def test_without_a_terminal_there_is_nothing_to_attach_to(
    paths: config.Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="attach needs a terminal"):
        viewing.watch(paths, with_attach("true"), None)
    assert viewing.watch(paths, INFO, None) == 0
    assert "no terminal that can be shown" in capsys.readouterr().err


def test_a_terminal_that_was_left_raw_is_given_back(
    paths: config.Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = os.openpty()
    try:
        before = termios.tcgetattr(theirs)
        monkeypatch.setattr(viewing, "_STDIN", theirs)
        for stream in (sys.stdin, sys.stdout):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        raw = ("stty", "-F", os.ttyname(theirs), "raw", "-echo")
        assert viewing.watch(paths, with_attach(*raw), None) == 0
        assert termios.tcgetattr(theirs) == before
        assert "\x1b[?1049l" in capsys.readouterr().out
        assert viewing.watch(paths, with_attach("true"), None) == 0
        assert "\x1b" not in capsys.readouterr().out
    finally:
        os.close(ours)
        os.close(theirs)


def test_an_agent_that_is_gone_afterwards_has_ended(
    paths: config.Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert viewing.watch(paths, with_attach("true"), None) == 0
    assert capsys.readouterr().out.startswith("bob ended; ")


def test_a_terminal_whose_socket_does_not_come_back_is_one_line(
    tmp_path: Path, paths: config.Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "REPAIR_S", 0.0)
    info = structs.replace(with_attach("false"), tmux_socket=str(tmp_path / "gone.sock"))
    with pytest.raises(RelayRunnerError, match=r"cannot reach the terminal of .*: its socket .* was removed") as caught:
        viewing._reach(paths, info)
    assert "restart bob" in str(caught.value.hint)
    forget_short_path(paths.state)
