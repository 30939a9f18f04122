"""Which file is a project's, and what of it is taken; `test_settings` has how it meets the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.config import project
from relay_runner.errors import ConfigError


def test_the_nearest_file_counts(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert project.find(deep) == (None, ())
    for folder in (tmp_path, tmp_path / "a"):
        (folder / project.PROJECT_FILE).write_text("")
        assert project.find(deep) == (folder / project.PROJECT_FILE, ())


def test_a_stranger_s_link_to_a_file_of_ours_is_no_file_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").write_text("")
    link = tmp_path / project.PROJECT_FILE
    link.symlink_to(tmp_path / "mine")
    assert project.find(tmp_path) == (link, ())
    monkeypatch.setattr(project, "_owners", lambda file: {4242, tmp_path.stat().st_uid})
    assert project.find(tmp_path) == (None, (f"ignored {link}: it belongs to another user",))


def test_what_may_not_stand_there_is_named() -> None:
    with pytest.raises(ConfigError, match="budget is not allowed in x"):
        project.narrowed({"budget": {}}, Path("x"), {})
    assert project.narrowed({"approval_mode": "ask"}, Path("x"), {}) == ({"approval_mode": "ask"}, ())
    assert project.narrowed({"approval_mode": "ask"}, Path("x"), {"approval_mode": "read-only"}) == ({}, ())
