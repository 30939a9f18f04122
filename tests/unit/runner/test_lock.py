import os
from pathlib import Path

import pytest

from relay_runner.errors import ConfigError
from relay_runner.runner.lock import AgentLock, holder


def test_one_holder_at_a_time_and_the_file_says_who(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) is None
    with AgentLock(path, "bob"):
        assert holder(path) == os.getpid()
        with (
            pytest.raises(ConfigError, match=rf"bob is live already \(runner process {os.getpid()}\)"),
            AgentLock(path, "bob"),
        ):
            pass
    assert holder(path) is None


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with AgentLock(path, "bob"):
            os.write(write, b"x")
            os.kill(os.getpid(), 9)
    os.read(read, 1)
    os.waitpid(child, 0)
    assert holder(path) is None
    with AgentLock(path, "bob"):
        assert holder(path) == os.getpid()
