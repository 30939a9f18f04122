"""profile check and profile list."""

from __future__ import annotations

import pytest

from relay_runner.cli import compose
from tests.unit.cli.conftest import World


@pytest.fixture(autouse=True)
def profile(world: World) -> None:
    """Give the user a profile."""
    folder = world.paths.config / "profiles"
    folder.mkdir(parents=True)
    (folder / "tidy.toml").write_text('plugins = ["."]\n[relay]\nbroad = false\n[instructions]\nsystem = "be tidy"')
    (folder / "mine.toml").write_text('provider = "codex"\nbase = "tidy"')
    (folder / "odd.toml").write_text('[permissions]\nmode = "yolo"')
    (folder / "empty.toml").touch()


def test_every_provider_says_what_it_makes_of_it(world: World) -> None:
    out, _ = world.run("profile", "check", "tidy")
    lines = out.splitlines()
    assert len(lines) == 1 + 3 * len(compose.PROVIDERS)
    assert any(line.split()[:3] == ["claude", "instructions.system", "applied"] for line in lines)
    assert any(line.startswith("demo") and "ignored" in line and "no model" in line for line in lines)
    found = world.json("profile", "check", "tidy", "--provider", "codex")
    assert found["profile"]["instructions"]["system"] == "be tidy"
    (report,) = found["providers"]
    fates = {one["key"]: one["fate"] for one in report["projection"]}
    assert report["provider"] == "codex"
    assert fates == {"relay.broad": "applied", "instructions.system": "applied", "plugins": "ignored"}


def test_a_profile_that_names_its_provider_is_checked_for_that_one(world: World) -> None:
    assert [one["provider"] for one in world.json("profile", "check", "mine")["providers"]] == ["codex"]


def test_what_is_wrong_is_one_line(world: World) -> None:
    assert "unknown approval mode 'yolo'" in world.run("profile", "check", "odd", code=2)[1]
    assert "no profile 'none'" in world.run("profile", "check", "none", code=2)[1]
    assert "unknown provider" in world.run("profile", "check", "tidy", "--provider", "x", code=2)[1]
    assert "asks for nothing" in world.run("profile", "check", "empty")[1]


def test_they_are_listed(world: World) -> None:
    assert world.json("profile", "list") == ["empty", "mine", "odd", "tidy"]
    assert world.run("profile", "list")[0].split() == ["NAME", "empty", "mine", "odd", "tidy"]
    assert "check" in world.run("profile")[0]
