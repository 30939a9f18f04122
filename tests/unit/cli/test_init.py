"""Process 1 of a container reaps orphans, passes signals on, and ends as its work does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from relay_runner.cli import init

# A subreaper is given the orphans of its descendants, as process 1 is.
PRELUDE = """\
import ctypes, os, signal, subprocess, sys, time
from relay_runner.cli import init
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
"""
ORPHAN = """\
def work():
    said = subprocess.run(["sh", "-c", "sleep 0.01 >&2 & echo $!"], stdout=subprocess.PIPE, text=True).stdout
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{int(said)}"):
        if time.monotonic() > deadline:
            return 9
        time.sleep(0.01)
    return 7
sys.exit(init.run(work))
"""
SIGNAL = """\
def work():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(5))
    print("ready", os.getpid(), os.getpgrp(), flush=True)
    while True:
        signal.pause()
sys.exit(init.run(work))
"""
KILLED = "sys.exit(init.run(lambda: os.kill(os.getpid(), signal.SIGKILL)))"


def start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PRELUDE + script], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("script", "code"), [(ORPHAN, 7), (KILLED, 137), ("sys.exit(init.run(lambda: 0))", 0)])
def test_an_orphan_is_reaped_and_the_exit_code_is_the_works(script: str, code: int) -> None:
    with start(script) as process:
        assert process.wait(60) == code


def test_a_signal_is_passed_on_once() -> None:
    with start(SIGNAL) as process:
        assert process.stdout is not None
        _, child, group = process.stdout.readline().split()
        assert child == group, "what the terminal sends to its foreground reaches it once"
        assert int(child) != process.pid
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 5


def test_only_process_1_does_this() -> None:
    assert not init.needed()
