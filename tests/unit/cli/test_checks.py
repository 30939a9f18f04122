"""What doctor looks at; it never fails itself."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay_runner import config
from relay_runner.cli import checks
from relay_runner.errors import RelayUnauthorized
from relay_runner.protocol.agents import Agent
from tests.unit.cli.conftest import World

pytestmark = pytest.mark.anyio


async def look() -> dict[str, checks.Check]:
    """Return every check by its name."""
    return {one.what: one for one in await checks.run()}


def install(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.usefixtures("programs")
async def test_a_bare_machine_is_told_what_to_install(world: World) -> None:
    found = await look()
    assert found["tmux"].state == "warn" and "install tmux" in (found["tmux"].fix or "")
    assert found["claude"].state == "warn" and "npm install" in (found["claude"].fix or "")
    assert found["python"].state == found["state folder"].state == found["relay"].state == "ok"
    assert found["agents here"].detail == "none run"
    assert found["codex"].state == "warn" and "npm install" in (found["codex"].fix or "")
    assert "generic -- opencode" in found["opencode"].detail


async def test_versions_are_asked_and_cleaned(world: World, programs: Path) -> None:
    install(programs, "tmux", "printf 'tmux \\033[1m9.9\\nmore\\n'")
    install(programs, "claude", "echo oops >&2; exit 3")
    found = await look()
    assert (found["tmux"].state, found["tmux"].detail) == ("ok", "tmux [1m9.9 more")
    assert found["claude"].state == "warn" and "run `claude` once" in (found["claude"].fix or "")


async def test_a_program_that_hangs_is_given_up(world: World, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "VERSION_S", 0.2)
    install(programs, "claude", "exec /bin/sleep 60")
    assert (await look())["claude"].state == "warn"


async def test_a_program_that_is_killed_or_leaves_a_child_is_told_in_a_line(world: World, programs: Path) -> None:
    install(programs, "claude", "kill -KILL $$")
    install(programs, "codex", "/bin/sleep 20 & echo codex-cli 999.0.0")
    found = await look()
    assert (found["claude"].state, found["claude"].detail) == (
        "warn", "unknown version: it was killed (SIGKILL)"
    )  # fmt: skip
    assert found["codex"].state == "ok"
    assert found["codex"].detail.startswith("codex-cli 999.0.0; newer than the tested versions (")


async def test_an_open_state_folder_and_wrong_settings(world: World) -> None:
    world.paths.state.mkdir(mode=0o755)
    world.paths.state.chmod(0o755)
    world.paths.config_file.write_text("colour = 1")
    found = await look()
    assert found["state folder"].state == "warn" and "chmod 700" in (found["state folder"].fix or "")
    assert found["settings"].state == "fail"


@pytest.mark.parametrize(("free", "state"), [(1000, "fail"), (50 << 20, "warn"), (1 << 30, "ok")])
async def test_a_full_disk_is_told(world: World, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert (await look())["disk"].state == state


async def test_an_old_python_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    assert (await look())["python"].state == "fail"


async def test_a_token_that_the_relay_does_not_take_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def agents() -> list[Agent]:
        raise RelayUnauthorized("the token is wrong")

    monkeypatch.setattr(world.person, "agents", agents)
    relay = (await look())["relay"]
    assert (relay.state, relay.detail) == ("fail", "the token is wrong")


async def test_a_configured_relay_that_is_gone_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.HOME_VARIABLE, str(tmp_path))
    monkeypatch.delenv(config.INSIDE_VARIABLE, raising=False)
    monkeypatch.setenv("RELAY_RUNNER_URL", "http://127.0.0.1:9")
    assert (await look())["relay"].state == "fail"
