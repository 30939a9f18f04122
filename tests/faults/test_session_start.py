"""The first prompt and the turn's time limit, on whole processes that are killed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Home, home, kill, until

PROMPT = "echo good morning"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def _messages(place: Home) -> list[Any]:
    return list(itertools.takewhile(bool, (place.get(f"/api/v1/messages/{number}") for number in itertools.count(1))))


def test_a_service_that_is_killed_and_started_again_says_its_prompt_once(place: Home) -> None:
    """Promise: start of a session."""
    place.start("bob", "demo", "--prompt", PROMPT)
    until("the prompt was sent", lambda: len(_messages(place)) == 1)
    assert place.settled(1)["result"] == "good morning"
    kill(place.runner_pid("bob"))
    place.start("bob", "demo", "--prompt", PROMPT)  # adopts the program
    kill(place.runner_pid("bob"))
    kill(place.provider_pid("bob"))
    place.start("bob", "demo", "--prompt", PROMPT)  # resumes its session
    last = place.send("bob", "echo last")
    assert place.settled(last)["result"] == "last"
    assert [one["message"]["body"] for one in _messages(place)] == [PROMPT, "echo last"]
    assert _messages(place)[0]["message"]["operator"] is True


def test_a_turn_that_takes_too_long_is_interrupted_and_has_failed(place: Home) -> None:
    place.start("bob", "demo", "--turn-timeout", "0.5")
    done = place.settled(place.send("bob", "slow 60"))
    assert (done["outcome"], done["reason"]) == ("failed", "the turn took longer than 0.5 s")
    assert place.settled(place.send("bob", "echo next"))["result"] == "next"
