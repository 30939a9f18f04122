"""The command line of `start`, word by word."""

from __future__ import annotations

import pytest

from relay_runner.cli import app, starting
from relay_runner.cli.choices import Flags
from relay_runner.cli.start import GROUPS


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Flags]:
    """Catch what `start` is asked for, at its door."""
    caught: list[Flags] = []

    def start(flags: Flags) -> int:
        caught.append(flags)
        return 7

    monkeypatch.setattr(starting, "start", start)
    return caught


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["demo"], {"provider": "demo"}),
        (["--", "-x"], {"args": ("-x",)}),
        (["generic", "--model", "m", "--", "python3", "-i", "--", "--json"],
         {"provider": "generic", "model": "m", "args": ("python3", "-i", "--", "--json")}),
        (["--tag", "a", "--tag", "b", "--capability", "c"], {"tags": ("a", "b"), "capabilities": ("c",)}),
        (["--resume", "abc"], {"resume": "abc"}),
        (["--resume"], {}),
        (["--resume", "--fresh"], {"fresh": True}),
        (["--no-tmux", "--replace", "--trust-folder"], {"tmux": False, "replace": True, "trust_folder": True}),
        (["--label", "Front desk", "--policy", "p", "--rig", "r"], {"label": "Front desk", "policy": "p", "rig": "r"}),
        (["--relay", "http://h:1", "--info-file", "f", "--workspace", "{}"],
         {"relay": "http://h:1", "info_file": "f", "workspace": "{}"}),
    ],
)  # fmt: skip
def test_words_become_flags(words: list[str], expected: dict[str, object], asked: list[Flags]) -> None:
    assert app.run(["start", *words]) == 7
    assert asked == [Flags(headless=True, **expected)]  # type: ignore[arg-type]


def test_too_many_words_are_refused(asked: list[Flags], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["start", "generic", "python3"]) == 2
    assert "unexpected argument: python3" in capsys.readouterr().err
    assert asked == []


def test_help_groups_every_option_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["start", "--help"]) == 0
    said = capsys.readouterr().out
    assert "Usage: relay-runner start [OPTIONS] [PROVIDER] [-- ARGS...]" in said
    grouped = [name for names in GROUPS.values() for name in names]
    command = app.LazyCommands()["start"]
    with command.make_context("start", [], resilient_parsing=True) as ctx:
        options = [param.opts[-1] for param in command.get_params(ctx) if param.param_type_name == "option"]
    assert sorted(f"--{name}" for name in grouped) == sorted(options)
    assert all(f"\n{title}:\n" in said for title in GROUPS)
