from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.config import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(state=tmp_path / "state", config=tmp_path / "config")
    config.private_dir(found.state)
    config.private_dir(found.config)
    return found


def test_state_settings_token_and_the_users_tmux_are_hidden(tmp_path: Path, paths: Paths) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    found = config.hidden(paths, str(token), {"TMUX_TMPDIR": str(tmp_path)})
    tmux = tmp_path / f"tmux-{os.getuid()}"
    assert found == tuple(sorted([paths.state, paths.config, token, tmux]))
    assert tmux.stat().st_mode & 0o777 == 0o700, "a server that starts later is hidden, too"


def test_settings_that_are_written_later_are_hidden_too(tmp_path: Path) -> None:
    paths = Paths(state=config.private_dir(tmp_path / "state"), config=tmp_path / "config")
    assert paths.config in config.hidden(paths, None, {"TMUX_TMPDIR": str(tmp_path)})
    assert paths.config.stat().st_mode & 0o777 == 0o700


def test_only_what_is_there_and_nothing_twice(tmp_path: Path) -> None:
    both = Paths(state=tmp_path / "home", config=tmp_path / "home")
    config.private_dir(both.state)
    environ = {"TMUX_TMPDIR": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "nowhere")}
    assert config.hidden(both, str(tmp_path / "home" / "token"), environ) == (both.state,)


def test_links_lead_to_what_they_mean(tmp_path: Path, paths: Paths) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    found = config.hidden(Paths(state=link / "state", config=link / "config"), None, {"TMUX_TMPDIR": str(link)})
    assert found == tuple(sorted([paths.state, paths.config, tmp_path / f"tmux-{os.getuid()}"]))


def test_the_doors_of_the_users_runtime_folder_are_hidden_and_the_rest_is_not(tmp_path: Path, paths: Paths) -> None:
    runtime = tmp_path / "run"
    (runtime / "systemd").mkdir(parents=True)
    (runtime / "keyring").mkdir()
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(runtime / "bus"))
        found = config.hidden(paths, None, {"TMUX_TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)})
    assert {path for path in found if runtime in path.parents} == {runtime / "systemd", runtime / "bus"}


def test_a_folder_for_tmux_that_is_somebody_elses_is_no_obstacle(tmp_path: Path, paths: Paths) -> None:
    (tmp_path / f"tmux-{os.getuid()}").symlink_to("/nowhere")
    assert config.hidden(paths, None, {"TMUX_TMPDIR": str(tmp_path)})
