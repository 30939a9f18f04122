"""Profiles as files: found, put on their bases, and refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.cli import profiles
from relay_runner.errors import ConfigError


@pytest.fixture
def paths(tmp_path: Path) -> config.Paths:
    (tmp_path / "home" / "profiles").mkdir(parents=True)
    return config.paths({"RELAY_RUNNER_HOME": str(tmp_path / "home")})


def write(paths: config.Paths, name: str, text: str) -> Path:
    file = paths.config / "profiles" / f"{name}.toml"
    file.write_text(text)
    return file


def test_by_name_or_by_file(paths: config.Paths, tmp_path: Path) -> None:
    file = write(paths, "careful", 'home = "isolated"')
    assert profiles.load("careful", paths).name == "careful" and profiles.load("careful", paths).isolated
    assert profiles.load(str(file), paths) == profiles.load("careful", paths)
    (tmp_path / "own.toml").write_text('name = "mine"')
    assert profiles.load("own.toml", paths, tmp_path).name == "mine"
    assert profiles.load("./own.toml", paths, tmp_path).name == "mine"
    assert profiles.known(paths) == ["careful"]


def test_bases_and_paths_start_at_the_file(paths: config.Paths, tmp_path: Path) -> None:
    for folder in ("project", "home/profiles"):
        (tmp_path / folder / "skills").mkdir(parents=True)
    write(paths, "below", 'name = "no"\nskills = ["skills"]\n[instructions]\nappend = ["@note.md"]\nsystem = "old"')
    (paths.config / "profiles" / "note.md").write_text("noted")
    (tmp_path / "project" / "middle.toml").write_text('base = "below"\n[instructions]\nsystem = "@sys.md"')
    (tmp_path / "project" / "sys.md").write_text("new")
    (tmp_path / "project" / "top.toml").write_text('base = "./middle.toml"\nskills = ["skills"]')
    found = profiles.load("project/top.toml", paths, tmp_path)
    assert found.name == "top" and found.instructions.append == ("noted",) and found.instructions.system == "new"
    assert found.skills == (str(tmp_path / "home/profiles/skills"), str(tmp_path / "project/skills"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = ", ["not TOML"]),
        ("nonsense = 1", ["nonsense"]),
        ("base = 1", ["base"]),
        ('base = "none"', ["no profile 'none'"]),
        ('base = "./none.toml"', ["none.toml", "No such file"]),
        ('base = "bad"', ["circle", "bad.toml -> bad.toml"]),
        ('base = "round"', ["circle", "bad.toml -> round.toml -> bad.toml"]),
        ('base = "wrong"', ["wrong.toml", "context"]),
        ('skills = ["none"]', ["no folder", "none"]),
        ("skills = [1]", ["skills"]),
        ('[instructions]\nappend = ["@none.md"]', ["none.md", "No such file"]),
        ('[instructions]\nsystem = "@latin.md"', ["latin.md", "not UTF-8"]),
    ],
)
def test_a_wrong_one_is_one_line(paths: config.Paths, text: str, words: list[str]) -> None:
    write(paths, "bad", text)
    write(paths, "round", 'base = "bad"')
    write(paths, "wrong", "[relay]\ncontext = 3")
    (paths.config / "profiles" / "latin.md").write_bytes(b"\xe9")
    with pytest.raises(ConfigError) as caught:
        profiles.load("bad", paths)
    said = str(caught.value)
    assert "\n" not in said and all(word in said for word in words), said


def test_one_that_is_not_there_names_those_that_are(paths: config.Paths, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="profiles stand in"):
        profiles.load("none", paths)
    write(paths, "careful", "")
    with pytest.raises(ConfigError, match="yours are careful"):
        profiles.load("none", paths)
    with pytest.raises(ConfigError, match="cannot read the profile"):
        profiles.load("none.toml", paths, tmp_path)
