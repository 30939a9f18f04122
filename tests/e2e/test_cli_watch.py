"""A person before the live view, in a real tmux: sees, answers what is asked, looks at an agent, leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PROGRAM, Home, home
from tests.person import Person


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


@pytest.fixture
def screen(place: Home) -> Iterator[Person]:
    place.start("bob", "demo")
    shown = Person(place.root, [*PROGRAM, "watch"], {**place.environ, "TERM": "xterm-256color"}, size=(110, 24))
    try:
        yield shown
    finally:
        shown.close()


def test_a_person_answers_from_the_live_view(place: Home, screen: Person) -> None:
    screen.shows("AGENTS (1)", "bob", "idle", "none yet")
    first = place.send("bob", "ask to delete it")
    screen.shows("ASKED (1)", "to delete it", "1 waits for an answer")
    screen.types("y")
    assert place.settled(first)["result"] == "allowed: to delete it"
    screen.shows("completed")
    second = place.send("bob", "ask to delete more")
    screen.shows("ASKED (1)", "to delete more")
    screen.types("n")
    screen.shows("why not?")
    screen.types("not today", "Enter")
    assert place.settled(second)["result"].startswith("denied: to delete more")


def test_a_person_looks_at_an_agent_and_comes_back(place: Home, screen: Person) -> None:
    screen.shows("bob", "idle")
    screen.types("", "Enter")
    screen.shows("demo>", "detach: Ctrl-]")
    screen.types("", "C-]", "d")
    screen.shows("AGENTS (1)", "bob")
    screen.types("q")
    screen.shows("left with 0")
