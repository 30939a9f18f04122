"""Where files are, and that private ones are."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.config import Paths
from relay_runner.errors import ConfigError
from tests.harness import forget_short_path


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return config.paths({"RELAY_RUNNER_HOME": str(tmp_path / "home")})


def test_one_variable_moves_everything(tmp_path: Path, paths: Paths) -> None:
    home = tmp_path / "home"
    assert (paths.state, paths.config) == (home, home)
    assert paths.relay_json == home / "relay.json"
    assert paths.agent("bob").info == home / "agents" / "bob" / "info.json"
    assert not home.exists()


def test_without_it_the_platform_s_folders_are_used() -> None:
    found = config.paths({})
    assert found.state.name == found.config.name == "relay-runner"


def test_private_folders_are_private(tmp_path: Path) -> None:
    folder = config.private_dir(tmp_path / "a" / "b")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    config.private_dir(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_is_a_file_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(ConfigError):
            config.private_dir(tmp_path / name)


def test_private_files_are_replaced_whole_and_private(tmp_path: Path) -> None:
    file = tmp_path / "token"
    config.write_private(file, b"one")
    config.write_private(file, b"two")
    assert file.read_bytes() == b"two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["token"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "folder"
    file.mkdir()
    (file / "x").write_text("")
    with pytest.raises(OSError):
        config.write_private(file, b"data")
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_no_umask_makes_a_folder_that_others_can_enter(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        config.private_dir(tmp_path / "share" / "state" / "ours")
    finally:
        os.umask(before)
    for folder in ("share", "share/state", "share/state/ours"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700, folder


def test_sockets_stand_in_the_state_folder(paths: Paths) -> None:
    found = paths.sockets()
    try:
        assert found.resolve() == (paths.state / "sockets").resolve()
        assert stat.S_IMODE(found.stat().st_mode) == 0o700
    finally:
        forget_short_path(paths.state)


def test_a_home_that_no_path_could_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot contain a colon: /a:b"):
        config.paths({"RELAY_RUNNER_HOME": "/a:b"})
