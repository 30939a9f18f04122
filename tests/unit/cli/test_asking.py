"""A program is asked one thing: whatever it does instead is told in a few words, and in time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from relay_runner.cli.asking import ask
from tests.harness import kill, running, until

pytestmark = pytest.mark.anyio
PATIENCE_S = 30.0


def program(folder: Path, script: str) -> str:
    """Write a program."""
    file = folder / "program"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize(
    ("script", "text", "trouble"),
    [
        ("printf '1.2\\033[1m\\nmore\\n'", "1.2[1m more", ""),
        ("echo 1.2; exit 3", "", "failed with exit code 3"),
        ("kill -KILL $$", "", "was killed (SIGKILL)"),
        ("kill -SEGV $$", "", "was killed (SIGSEGV)"),
        (":", "", "printed nothing"),
    ],
)
async def test_what_it_says_or_why_not(tmp_path: Path, script: str, text: str, trouble: str) -> None:
    said = await ask(program(tmp_path, script), timeout_s=PATIENCE_S)
    assert (said.text, said.trouble) == (text, trouble)


async def test_what_cannot_be_run_is_told(tmp_path: Path) -> None:
    assert (await ask(str(tmp_path / "missing"), timeout_s=PATIENCE_S)).trouble.startswith("could not be run (No such")
    (tmp_path / "text").write_text("no program")
    assert (await ask(str(tmp_path / "text"), timeout_s=PATIENCE_S)).trouble == "could not be run (Permission denied)"


async def test_a_child_that_keeps_its_stdout_is_not_waited_for(tmp_path: Path) -> None:
    script = f"/bin/sleep 600 & echo $! > {tmp_path / 'child'}; echo 1.2"
    asked_at = time.monotonic()
    said = await ask(program(tmp_path, script), timeout_s=PATIENCE_S)
    child = int((tmp_path / "child").read_text())
    assert said.text == "1.2"
    assert time.monotonic() - asked_at < PATIENCE_S
    assert running(child)
    kill(child)


async def test_one_that_never_ends_is_ended_with_its_children(tmp_path: Path) -> None:
    script = f"/bin/sleep 600 & echo $! > {tmp_path / 'child'}; wait"
    assert (await ask(program(tmp_path, script), timeout_s=1.0)).trouble == "did not answer within 1 s"
    child = int((tmp_path / "child").read_text())
    until("the child is gone", lambda: not running(child))
