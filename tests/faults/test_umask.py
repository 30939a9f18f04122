"""Whatever the umask is, what is ours is private: the folders on the way to it, too."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Home, home


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        made.environ["RELAY_RUNNER_HOME"] = str(tmp_path / "deep" / "home")
        yield Home(tmp_path / "deep", made.environ, made.runners)
        Home(tmp_path / "deep", made.environ).close()


def test_nothing_of_ours_is_open_to_others(place: Home) -> None:
    before = os.umask(0)
    try:
        place.root.mkdir(mode=0o700)
        place.work.mkdir()
        place.start("bob", "demo")
        assert place.settled(place.send("bob", "hello"))["outcome"] == "completed"
    finally:
        os.umask(before)
    open_to_others = {
        str(path.relative_to(place.state)): oct(mode)
        for path in [place.state, *place.state.rglob("*")]
        if not path.is_symlink() and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077
    }
    assert open_to_others == {}
    names = {path.name for path in place.state.rglob("*")}
    assert {"pid", "exit", "info.json", "control.json", "relay.json", "runner.lock"} <= names
