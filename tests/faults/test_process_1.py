"""A headless agent as process 1 of a container: what ends there does not stay a zombie."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PROGRAM, Home, forget_short_path, until

NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def can_unshare() -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="no PID namespace can be made here")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    """A home that is never closed by its pids, which are of another namespace: that ends all of them when it ends."""
    yield Home.make(tmp_path)
    forget_short_path(tmp_path / "home")


def children(pid: int) -> list[tuple[int, str]]:
    """Return pid and state of the children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append((int(entry.name), fields[0]))
    return found


def test_orphans_are_reaped_and_a_stop_is_heard(place: Home) -> None:
    with (place.root / "log").open("wb") as log:
        outer = subprocess.Popen(
            [*NAMESPACE, *PROGRAM, "start", "demo", "--headless", "--agent-id", "bob"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=place.environ,
            cwd=place.work,
        )
    try:
        until("bob is ready", lambda: place.agent("bob").get("ready"))
        assert place.file("bob", "info.json")["pid"] != 1
        ((init, _),) = children(outer.pid)
        orphans = until("tmux and relay are its children now", lambda: [pid for pid, _ in children(init)][1:])
        for orphan in orphans:
            os.kill(orphan, signal.SIGKILL)
        until("none of them stays", lambda: not [pid for pid, state in children(init) if pid in orphans])
        os.kill(init, signal.SIGTERM)
        assert outer.wait(60) == 0
    finally:
        outer.kill()
        outer.wait()
    assert "bob ended" in (place.root / "log").read_text()
