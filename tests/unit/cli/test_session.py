"""One command's conversation with its relay."""

from __future__ import annotations

import os

import pytest

from relay_runner import config
from relay_runner.cli import session
from relay_runner.errors import ConfigError
from tests.unit.cli.conftest import World
from tests.unit.cli.test_local import save_program

pytestmark = pytest.mark.anyio


async def test_the_relay_is_open_and_known(world: World) -> None:
    async with session.open_session() as opened:
        assert opened.relay is world.person
        assert opened.paths == world.paths
        assert await opened.me() == "person:operator"


async def test_a_token_without_a_relay_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RELAY_RUNNER_TOKEN", "mine")
    async with session.open_session():
        assert "a relay token is configured, but no relay" in capsys.readouterr().err
    monkeypatch.setenv("RELAY_RUNNER_URL", "http://127.0.0.1:9")
    async with session.open_session():
        assert capsys.readouterr().err == ""


async def test_an_agent_is_refused_before_anything_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.INSIDE_VARIABLE, "s")
    with pytest.raises(ConfigError, match="an agent cannot do that"):
        async with session.open_session(only_person="do that"):
            raise AssertionError("never")


async def test_an_agent_that_left_its_environment_behind_does_not_speak_as_a_person(world: World) -> None:
    program = save_program(world.paths, "bob", os.getppid())
    assert program.terminal.process.pid == os.getppid()
    with pytest.raises(ConfigError, match="inside agent bob without its environment"):
        async with session.open_session():
            raise AssertionError("never")
    with pytest.raises(ConfigError, match="an agent cannot do that"):
        async with session.open_session(only_person="do that"):
            raise AssertionError("never")


async def test_what_is_configured_does_not_count_inside_an_agent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config.private_dir(world.paths.config)
    world.paths.config_file.write_text("colour = 1")
    monkeypatch.setenv(config.INSIDE_VARIABLE, "s")
    async with session.open_session() as opened:
        assert opened.relay is world.person


async def test_a_wrong_settings_file_is_told(world: World) -> None:
    config.private_dir(world.paths.config)
    world.paths.config_file.write_text("colour = 1")
    with pytest.raises(ConfigError, match="unknown key"):
        async with session.open_session():
            raise AssertionError("never")
