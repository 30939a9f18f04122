"""The one line that a spawner reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay_runner.cli import app
from relay_runner.cli.spawned import Answer, is_headless_start
from relay_runner.errors import ConfigError

WAIT_S = 30.0


def said(*answers: object) -> bytes:
    """Return what an answer writes into a pipe that nobody else holds."""
    reading, writing = os.pipe()
    answer = Answer(writing)
    for one in answers:
        answer.fail(one) if isinstance(one, ConfigError) else answer.give(one)
    with os.fdopen(reading, "rb") as file:
        return file.read()


def test_there_is_one_line_and_the_first_wins() -> None:
    assert said({"agentId": "bob", "text": "a\nb\u2028"}, ConfigError("late")) == (
        b'{"agentId": "bob", "text": "a\\nb\\u2028"}\n'
    )
    assert json.loads(said(ConfigError("no", hint="do"), {"late": 1})) == {
        "error": {"code": "usage", "message": "no", "hint": "do"}
    }


def test_a_spawner_that_hung_up_does_not_matter() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    Answer(writing).give({"x": 1})


SCRIPT = """
import os, subprocess, sys
from relay_runner.cli.spawned import Answer, close_inherited
kept = os.open(os.devnull, os.O_RDONLY)
close_inherited(kept)
answer = Answer.on_stdout()
print("noise of ours", flush=True)
child = subprocess.Popen(["sh", "-c", "echo noise of a child; exec sleep 60"])
answer.give({"open": sorted(int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2 and int(name) != kept)})
sys.stdin.read()
child.kill()
"""


def test_nothing_else_is_on_stdout_and_nothing_of_the_spawner_s_stays_open(tmp_path: Path) -> None:
    leaked = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=[leaked]
    ) as process:
        os.close(leaked)
        assert process.stdout is not None and process.stdin is not None and process.stderr is not None
        try:
            # Read to the end, while the process and its child live on.
            open_there = json.loads(process.stdout.read())["open"]
            assert leaked not in open_there and len(open_there) <= 2  # the listing itself, and the answer's own pipe
        finally:
            process.stdin.close()
        assert process.wait(WAIT_S) == 0
        assert b"noise of ours" in process.stderr.read()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["start", "demo", "--headless"], True),
        (["start", "demo"], True),  # the tests' stdin is no terminal
        (["start", "--help"], False),
        (["ps", "--headless"], False),
        ([], False),
    ],
)
def test_who_reads_an_answer(words: list[str], answer: bool) -> None:
    assert is_headless_start(words) is answer


def test_what_is_wrong_with_the_words_is_an_answer_too(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (("start", "--headless", "--nonsense"), ("--debug", "start", "nope")):
        assert app.run(words) == 2
        told = capfd.readouterr()
        assert json.loads(told.out)["error"]["code"] == "usage" and told.out.count("\n") == 1
        assert "relay-runner: " in told.err
