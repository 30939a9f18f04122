"""Which of its three ways `start` takes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from relay_runner import config
from relay_runner.cli import background, service, starting, viewing
from relay_runner.cli.choices import Flags, Request
from relay_runner.errors import ConfigError
from relay_runner.protocol.control import RunnerInfo
from tests.unit.cli.conftest import World
from tests.unit.cli.test_local import Runner, start

__all__ = ["start"]


class Became(Exception):
    """This process is the runner's now."""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Paths:
    monkeypatch.setenv(config.HOME_VARIABLE, str(tmp_path))
    return config.paths()


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Catch each way at its door."""
    taken: list[Any] = []

    def become(request: Request) -> NoReturn:
        taken.append(("foreground", request.options.agent_id, dict(os.environ)))
        raise Became

    def launch(request: Request, paths: config.Paths) -> Any:
        taken.append(("background", request.options.agent_id))
        return type("Told", (), {"info": None})

    def watch(paths: config.Paths, info: RunnerInfo, report: Any) -> int:
        taken.append(("watch", info and info.agent_id, report is not None))
        return 5

    monkeypatch.setattr(service, "become", become)
    monkeypatch.setattr(background, "launch", launch)
    monkeypatch.setattr(viewing, "watch", watch)
    monkeypatch.setattr(viewing, "introduce", lambda info: None)
    monkeypatch.setattr("relay_runner.log.setup", lambda *args, **flags: None)
    return taken


def flags(paths: config.Paths, **more: Any) -> Flags:
    return Flags(provider="demo", agent_id="bob", cwd=str(paths.state), **more)


def test_headless_stays_in_the_foreground(paths: config.Paths, ways: list[Any]) -> None:
    with pytest.raises(Became):
        starting.start(flags(paths, headless=True))
    assert [way[:2] for way in ways] == [("foreground", "bob")]


def test_in_a_terminal_it_goes_to_the_background_and_is_watched(paths: config.Paths, ways: list[Any]) -> None:
    assert starting.start(flags(paths)) == 5
    assert ways == [("background", "bob"), ("watch", None, True)]


@pytest.mark.parametrize(
    ("mine", "its"), [((120, 40), (120, 39)), ((40, 10), (80, 23)), ((0, 0), None), (None, None)], ids=str
)
def test_its_terminal_is_as_large_as_the_one_it_is_started_in(
    paths: config.Paths, ways: list[Any], monkeypatch: pytest.MonkeyPatch, mine: tuple[int, int] | None, its: object
) -> None:
    asked: list[Request] = []

    def launch(request: Request, paths: config.Paths) -> Any:
        asked.append(request)
        return type("Told", (), {"info": None})

    def size(descriptor: int) -> os.terminal_size:
        if mine is None:
            raise OSError("no terminal")
        return os.terminal_size(mine)

    monkeypatch.setattr(background, "launch", launch)
    monkeypatch.setattr(os, "get_terminal_size", size)
    starting.start(flags(paths))
    assert asked[0].options.screen == its


def test_a_live_agent_is_shown_or_refused(
    paths: config.Paths,
    ways: list[Any],
    start: Callable[[str], Runner],
) -> None:
    info, _ = start("bob")
    assert starting.start(flags(paths)) == 5
    assert ways == [("watch", "bob", False)]
    with pytest.raises(ConfigError, match=f"runs already .pid {info.pid}.: use --replace"):
        starting.start(flags(paths, headless=True))
    with pytest.raises(Became):
        starting.start(flags(paths, headless=True, replace=True))


def test_a_live_agent_gets_the_prompt_and_the_rest_is_named(
    world: World, ways: list[Any], start: Callable[[str], Runner]
) -> None:
    world.agent("bob")
    start("bob")
    asked = Flags(agent_id="bob", prompt="hello", model="m", cwd="/")
    assert starting.start(asked) == 5
    assert ways == [("watch", "bob", False)]
    assert asyncio.run(world.person.message(1)).message.body == "hello"
    assert world.capsys.readouterr().err.splitlines() == [
        "relay-runner: bob runs already; this is its terminal",
        "relay-runner: not applied to it: --model: `relay-runner stop bob` first, then start it so",
        "relay-runner: message 1 to bob: queued",
    ]


def test_inside_an_agent_its_marks_are_scrubbed(
    paths: config.Paths, ways: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(os.environ)
    for name, value in {"AGENT_RELAY_PROVIDER_SESSION_ID": "s", "AGENT_RELAY_TAGS": "outer", "TMUX": "x"}.items():
        monkeypatch.setenv(name, value)
    try:
        with pytest.raises(Became):
            starting.start(flags(paths, headless=True))
        assert not [name for name in ways[0][2] if name.startswith("AGENT_RELAY_") or name == "TMUX"]
    finally:
        os.environ.clear()
        os.environ.update(before)
