"""Unix sockets have a short path, in the state folder itself or behind a link that no other user could have taken."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relay_runner.config import sockets
from relay_runner.errors import ConfigError


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short runtime folder of this test's own."""
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as made:
        monkeypatch.setenv("XDG_RUNTIME_DIR", made)
        yield Path(made)


def deep(folder: Path) -> Path:
    """Return a folder whose path is too long for a socket."""
    made = folder / ("d" * 60) / ("e" * 60)
    made.mkdir(parents=True)
    return made


def bind(folder: Path, name: str = "x.sock") -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / name))


def test_a_short_folder_is_taken_as_it_is(runtime: Path) -> None:
    assert sockets.short(runtime, runtime / "noted") == runtime
    assert list(runtime.iterdir()) == [], "nothing is written down, and no probe is left"


def test_a_long_one_is_reached_by_a_link(runtime: Path, tmp_path: Path) -> None:
    folder = deep(tmp_path)
    found = sockets.short(folder, tmp_path / "noted")
    assert found.parent == runtime and found.is_symlink()
    bind(found, "n" * sockets.NAME_LIMIT)
    assert [entry.name for entry in folder.iterdir()] == ["n" * sockets.NAME_LIMIT]
    assert stat.S_IMODE((tmp_path / "noted").stat().st_mode) == 0o600


def test_those_who_start_together_draw_one_name(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = deep(tmp_path), sockets._read

    def slowly(noted: Path) -> Path | None:
        found = read(noted)
        time.sleep(0.05)  # everybody else has looked, too
        return found

    monkeypatch.setattr(sockets, "_read", slowly)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: sockets.short(folder, tmp_path / "noted"), range(4)))
    assert len({*found}) == 1
    assert list(runtime.iterdir()) == [found[0]]


def test_a_link_that_was_cleaned_away_comes_back_under_its_name(runtime: Path, tmp_path: Path) -> None:
    folder = deep(tmp_path)
    found = sockets.short(folder, tmp_path / "noted")
    found.unlink()
    assert sockets.short(folder, tmp_path / "noted") == found
    bind(found)
    assert (folder / "x.sock").exists()


def test_a_name_that_another_took_meanwhile_is_left_for_another_name(runtime: Path, tmp_path: Path) -> None:
    folder = deep(tmp_path)
    found = sockets.short(folder, tmp_path / "noted")
    found.unlink()
    found.symlink_to(tmp_path)  # leads elsewhere: of another installation, or of whoever wants our sockets
    again = sockets.short(folder, tmp_path / "noted")
    assert again != found and again.resolve() == folder.resolve()
    assert sockets.short(folder, tmp_path / "noted") == again


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_the_link_of_another_user_is_never_followed(runtime: Path, tmp_path: Path) -> None:
    folder = deep(tmp_path)
    found = sockets.short(folder, tmp_path / "noted")
    found.unlink()
    found.symlink_to(folder)
    os.chown(found, 65534, 65534, follow_symlinks=False)
    assert sockets.short(folder, tmp_path / "noted") != found


def test_a_file_system_without_sockets_gets_a_folder(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_has_sockets", lambda folder: False)
    before = os.umask(0)
    try:
        found = sockets.short(tmp_path, tmp_path / "noted")
    finally:
        os.umask(before)
    assert found.parent == runtime and not found.is_symlink()
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert sockets.short(tmp_path, tmp_path / "noted") == found


def test_no_place_at_all_is_one_line(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_ours", lambda path, target: False)
    with pytest.raises(ConfigError, match="no folder for unix sockets"):
        sockets.short(deep(tmp_path), tmp_path / "noted")


@pytest.mark.parametrize("content", [b"", b"relative/path", b"/" + b"x" * 200, b"\xff"])
def test_a_damaged_note_is_no_obstacle(runtime: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "noted").write_bytes(content)
    assert sockets.short(deep(tmp_path), tmp_path / "noted").is_symlink()


def test_a_socket_of_ours_is_reachable_also_when_nobody_listens_now(runtime: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime / "x.sock"))
        listener.listen()
        assert sockets.reachable(runtime / "x.sock")
    assert sockets.reachable(runtime / "x.sock")
    assert not sockets.reachable(runtime / "none")
    (runtime / "file").touch()
    assert not sockets.reachable(runtime / "file")


def test_another_users_socket_is_told(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "peer_uid", lambda connection: os.getuid() + 1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime / "x.sock"))
        listener.listen()
        with pytest.raises(ConfigError, match="another user"):
            sockets.reachable(runtime / "x.sock")
