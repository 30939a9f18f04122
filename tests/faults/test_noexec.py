"""A state folder from which nothing can be run: the agent works as far as it can, and it is said."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import home, until


@pytest.fixture
def noexec() -> Iterator[Path]:
    """A file system that is mounted so."""
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "noexec,size=64m", "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("nothing can be mounted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def test_it_is_said_where_the_state_folder_is_mounted_noexec(noexec: Path) -> None:
    with home(noexec) as place:
        place.start("bob", "demo")
        assert "set RELAY_RUNNER_HOME to another folder" in place.log("bob")
        row = until("ps says it", lambda: next((row for row in place.json("ps") if row["detail"]), None))
        assert "mounted noexec?" in row["detail"]
        (check,) = [check for check in place.json("doctor", check=None) if check["check"] == "state folder"]
        assert (check["state"], check["detail"]) == ("warn", f"{place.state} is mounted noexec")
        assert place.settled(place.send("bob", "hello"))["outcome"] == "completed"
