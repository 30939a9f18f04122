"""A listening socket is passed on by a program that a shell can run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.terminal import pass_fd
from tests.terminals import listening

PROGRAM = (sys.executable, "-I", "-S", "-E", str(Path(pass_fd.__file__)))


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """A unix socket at which somebody waits."""
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/door")
        listener.listen()
        yield listener


def test_a_command_inherits_what_was_taken_and_nothing_else(door: socket.socket) -> None:
    script = (
        "import os,socket; s=socket.socket(fileno=9); print(s.getsockname()[1], *sorted(os.listdir('/proc/self/fd')))"
    )
    command = [*PROGRAM, "take", door.getsockname(), "9", sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child, listening() as listener:
        visitor, _ = door.accept()
        with visitor:
            socket.send_fds(visitor, [b"x"], [listener.fileno()])
        port, *descriptors = child.communicate(timeout=30)[0].split()
        assert int(port) == listener.getsockname()[1]
    assert descriptors == ["0", "1", "2", "3", "9"], "3 is the listing itself"


def test_what_is_held_is_given(door: socket.socket) -> None:
    with listening() as listener:
        os.set_inheritable(listener.fileno(), True)
        number = str(listener.fileno())
        with subprocess.Popen([*PROGRAM, "give", door.getsockname(), number], pass_fds=(listener.fileno(),)) as child:
            visitor, _ = door.accept()
            with visitor:
                assert pass_fd.peer_uid(visitor) == os.getuid()
                _, (given,), _, _ = socket.recv_fds(visitor, 1, 1)
            assert child.wait(30) == 0
        with socket.socket(fileno=given) as copy:
            assert copy.getsockname() == listener.getsockname()


@pytest.mark.parametrize("verb", ["take", "give"])
def test_a_door_that_is_shut_is_one_line_and_starts_nothing(tmp_path: Path, verb: str) -> None:
    ended = subprocess.run(
        [*PROGRAM, verb, str(tmp_path / "none"), "9", "/bin/echo", "started"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("relay-runner: the socket was not passed on: ")


def test_another_users_door_is_not_entered(door: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_fd, "peer_uid", lambda connection: os.getuid() + 1)
    with pytest.raises(PermissionError):
        pass_fd.enter(door.getsockname())
