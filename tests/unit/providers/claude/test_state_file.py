"""The state file: read when it changed, never another process's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ProviderError
from relay_runner.providers.claude.home import ClaudeHome
from relay_runner.providers.claude.state_file import Reading, StateFile
from relay_runner.terminal import processes
from relay_runner.terminal.base import ProcessIdentity


def write(home: ClaudeHome, pid: int, **fields: Any) -> Path:
    file = home.state_file(pid)
    file.parent.mkdir(parents=True, exist_ok=True)
    value = {"pid": pid, "sessionId": "s", "status": "idle", "statusUpdatedAt": 1_800_000_000_500, **fields}
    file.write_text(json.dumps(value))
    return file


def test_the_file_is_read_and_read_again(tmp_path: Path) -> None:
    home = ClaudeHome.of({"HOME": str(tmp_path)})
    state = StateFile(home, ProcessIdentity(4242, 77))
    assert state.read() is None
    write(home, 4242, procStart="77")
    assert state.read() == Reading("idle", 1_800_000_000.5, "s")
    write(home, 4242, status="waiting", waitingFor="permission prompt")
    reading = state.read()
    assert reading is not None
    assert (reading.status, reading.waiting_for, reading.idle) == ("waiting", "permission prompt", False)
    home.state_file(4242).unlink()
    assert state.read() is None


def test_a_half_written_file_keeps_the_last_reading(tmp_path: Path) -> None:
    home = ClaudeHome.of({"HOME": str(tmp_path)})
    state = StateFile(home, ProcessIdentity(4242, 77))
    file = write(home, 4242)
    before = state.read()
    file.write_text('{"pid": 4242, "sess')
    assert state.read() == before


def test_the_file_of_an_older_process_with_the_same_pid_is_not_ours(tmp_path: Path) -> None:
    home = ClaudeHome.of({"HOME": str(tmp_path)})
    write(home, 4242, procStart="5")
    assert StateFile(home, ProcessIdentity(4242, 77)).read() is None


def test_a_file_without_a_status_says_nothing(tmp_path: Path) -> None:
    home = ClaudeHome.of({"HOME": str(tmp_path)})
    write(home, 4242, status="")
    assert StateFile(home, ProcessIdentity(4242, 77)).read() is None


def test_the_program_under_a_wrapper_is_found(tmp_path: Path) -> None:
    home = ClaudeHome.of({"HOME": str(tmp_path)})
    ours = processes.identity(os.getpid())
    assert ours is not None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        write(home, child.pid)
        state = StateFile(home, ours)
        assert state.read() is None
        reading = state.read()
        assert reading is not None
        assert reading.status == "idle"
    finally:
        child.communicate(b"\n", timeout=10)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    home = ClaudeHome.of({"HOME": str(tmp_path)})
    state = StateFile(home, ProcessIdentity(4242, 77))
    home.state_file(4242).mkdir(parents=True)
    with pytest.raises(ProviderError, match="4242"):
        state.read()
    home.state_file(4242).rmdir()
    write(home, 4242)
    assert state.read() is not None
