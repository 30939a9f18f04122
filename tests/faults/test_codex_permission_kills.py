"""Kill the runner of the real Codex while it asks: the next one finds the question and puts the answer in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.codex import codex_environ, codex_home, model  # noqa: F401 - a fixture
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home, kill, until

pytestmark = [pytest.mark.codex, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as made:
        made.start("cx", "codex")
        yield made


@pytest.mark.parametrize("when", ["after", "meanwhile"])
def test_a_killed_runners_successor_finds_the_question(place: Home, when: str) -> None:
    message = place.send("cx", "RUN:mkdir asked\nSAY:made")
    asked = place.asked("cx", state="open")
    kill(place.runner_pid("cx"))
    if when == "meanwhile":
        place.run("approve", asked["id"])
    runner = place.start("cx", "codex", wait=False)
    if when == "after":
        until("it waits again", lambda: "waiting" in str(place.agent("cx", pid=runner.pid).get("providerState")))
        assert "approved" in place.run("approve", asked["id"]).stdout
    assert place.settled(message)["result"] == "made"
    assert place.permission(asked["id"], state="closed")["resolution"] == "applied"
    assert (place.work / "asked").is_dir()
