"""The demo agent's command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from relay_runner.providers.demo import PROGRAM
from relay_runner.providers.demo_agent.__main__ import main

Start = Callable[..., pexpect.spawn]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts the agent on a terminal and waits for its prompt."""
    started: list[pexpect.spawn] = []

    def run(*words: str, **env: str) -> pexpect.spawn:
        environ = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "LANG": "C.UTF-8", **env}
        terminal = pexpect.spawn(PROGRAM[0], [*PROGRAM[1:], *words], env=environ, cwd=tmp_path, timeout=30)
        terminal.delaybeforesend = terminal.delayafterclose = terminal.ptyproc.delayafterclose = 0
        started.append(terminal)
        terminal.expect_exact("demo> ")
        return terminal

    yield run
    for terminal in started:
        terminal.close(force=True)


def leave(terminal: pexpect.spawn, key: str = "\x04") -> int | None:
    """Press the key that ends it, and return the exit code."""
    terminal.send(key)
    terminal.expect(pexpect.EOF)
    terminal.wait()
    code: int | None = terminal.exitstatus
    return code


def events(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_new_session_is_written_down_under_its_id(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "t"
    terminal = start("--transcript", str(file), "--session", "s1", AGENT_RELAY_PROVIDER_SESSION_ID="p1")
    assert leave(terminal) == 0
    first, *_, last = events(file)
    assert (first["type"], first["session"], first["process"], first["resumed"]) == ("session", "s1", "p1", False)
    assert (last["type"], last["code"]) == ("exit", 0)


def test_a_session_is_resumed_where_it_broke_off(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "t"
    terminal = start("--transcript", str(file), "--session", "s1")
    terminal.send("crash\r")
    terminal.expect(pexpect.EOF)
    before = len(events(file))
    # An id for a new session changes nothing about the one that is resumed.
    assert leave(start("--transcript", str(file), "--session", "s2", "--resume", "s1")) == 0
    session, ended = events(file)[before : before + 2]
    assert (session["session"], session["resumed"]) == ("s1", True)
    assert (ended["type"], ended["outcome"]) == ("turn-ended", "failed")


def test_without_a_transcript_nothing_is_written(start: Start, tmp_path: Path) -> None:
    assert leave(start(), "exit 3\r") == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "said"), [((), "Allow: it?"), (("--allow",), "allowed: it")])
def test_it_asks_unless_it_was_allowed(start: Start, words: tuple[str, ...], said: str) -> None:
    terminal = start(*words)
    terminal.send("ask it\r")
    terminal.expect_exact(said)


def test_the_title_names_the_agent_of_the_relay(start: Start) -> None:
    assert b"\x1b]2;bob: idle\x07" in (start(AGENT_RELAY_ID="bob").before or b"")
    assert b"\x1b]2;demo: idle\x07" in (start().before or b"")


def test_the_terminal_is_given_back_at_the_end(start: Start) -> None:
    terminal = start()
    assert not terminal.getecho()
    terminal.send("\x04")
    terminal.expect_exact("\x1b[?2004l")
    terminal.expect(pexpect.EOF)


def test_what_it_cannot_read_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--nope"])
    assert caught.value.code == 2
    assert "--nope" in capsys.readouterr().err


def test_it_needs_a_terminal_and_leaves_nothing_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "in").open("w+") as file:
        monkeypatch.setattr(sys, "stdin", file)
        with pytest.raises(SystemExit) as caught:
            main(["--transcript", str(tmp_path / "t")])
    assert caught.value.code == 2
    assert "wants a terminal" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
