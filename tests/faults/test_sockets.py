"""Sockets that a cleaner takes away while an agent runs: they come back, or it is said what cannot."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PROGRAM, Home, home, kill, running, until
from tests.person import Person

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def test_an_agent_whose_sockets_were_cleaned_away_goes_on(place: Home) -> None:
    place.start("bob", "demo")
    socket, server = Path(place.tmux_socket("bob")), place.tmux_pid("bob")
    assert socket.resolve().is_relative_to(place.state), "where no cleaner of temporary files goes"
    shutil.rmtree(socket.parent.resolve())
    if socket.parent.is_symlink():
        socket.parent.unlink()
    assert place.settled(place.send("bob", "one"))["outcome"] == "completed"
    until("the socket is back", socket.exists)
    assert "detach: Ctrl-] d" in attached(place, "detach: Ctrl-] d")
    place.run("stop", "bob")
    until("the server is gone", lambda: not running(server))


def test_a_terminal_that_cannot_be_reached_is_told_and_ended(place: Home) -> None:
    runner = place.start("bob", "demo")
    socket, server = Path(place.tmux_socket("bob")), place.tmux_pid("bob")
    socket.unlink()
    socket.mkdir()
    told = until("ps says it", lambda: why(place))
    assert "cannot be reached" in told
    assert "restart bob` to give" in attached(place, "cannot reach the terminal of bob", "left with 1")
    place.run("stop", "bob")
    until("the server is gone", lambda: not running(server))
    assert runner.wait(30) == 0


@pytest.mark.parametrize("word", ["stop", "kill"])
def test_what_a_dead_runner_left_is_ended_without_its_socket(place: Home, word: str) -> None:
    runner = place.start("bob", "demo")
    socket, server, program = Path(place.tmux_socket("bob")), place.tmux_pid("bob"), place.provider_pid("bob")
    kill(runner.pid)
    socket.unlink()
    socket.mkdir()
    place.run(word, "bob")
    until("all is gone", lambda: not running(server) and not running(program))


def why(place: Home) -> str | None:
    (row,) = place.json("ps")
    detail = row["detail"]
    assert detail is None or isinstance(detail, str)
    return detail


def attached(place: Home, *texts: str) -> str:
    """Return what a person who attaches sees, once all of this is there."""
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder:
        person = Person(Path(folder), [*PROGRAM, "attach", "bob"], place.environ)
        try:
            return person.shows(*texts)
        finally:
            person.close()
