"""What a person is told of an installed program's version."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.cli.versions import beyond, describe
from relay_runner.providers.base import Capabilities, Tried, Versions
from relay_runner.providers.demo import DemoProvider
from tests.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio
VERSIONS = Versions(command="tool", package="tool", tried=(Tried("1.2", "slow"), Tried("1.4", "quick")))


@pytest.fixture
def provider() -> ScriptedProvider:
    """A provider that drives a program."""
    made = ScriptedProvider(Capabilities())
    made.versions = VERSIONS
    return made


def install(folder: Path, name: str, script: str) -> str:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return str(folder / name)


async def test_the_installed_one_is_asked(
    provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    install(tmp_path, "tool", "echo tool 1.5")
    assert await beyond(provider, ()) == "tool 1.5 is newer than the tested versions (1.2, 1.4)"
    mine = install(tmp_path, "mine", "echo 1.1")
    assert await beyond(provider, (mine, "--flag")) == "tool 1.1 is older than the tested versions (1.2, 1.4)"


@pytest.mark.parametrize("script", ["echo 1.3", "echo unknown", "exit 1", "kill -9 $$"])
async def test_nothing_is_said_of_any_other(
    provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await beyond(provider, ()) is None
    install(tmp_path, "tool", script)
    assert await beyond(provider, ()) is None
    assert await beyond(DemoProvider(), ()) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("tool 1.4", "tool 1.4; tested: quick"),
        ("tool 1.3", "tool 1.3; tested versions: 1.2, 1.4"),
        ("tool 1.5", "tool 1.5; newer than the tested versions (1.2, 1.4)"),
        ("tool 1.1", "tool 1.1; older than the tested versions (1.2, 1.4)"),
        ("tool, new", "tool, new"),
    ],
)
def test_how_it_stands_to_those_that_were_tried(said: str, told: str) -> None:
    assert describe(VERSIONS, said) == told
