"""The first prompt and the turn's time limit, on whole processes that are killed."""

from __future__ import annotations

import itertools
import json
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


def test_where_the_token_is_the_agents_own_the_prompt_goes_in_without_the_relay(tmp_path: Path) -> None:
    with home(tmp_path / "there") as there:
        there.start("eve", "demo")
        relay = json.loads((there.state / "relay.json").read_text())
        token = there.run("relay", "token", "new", "bob").stdout.strip()
        with home(tmp_path / "here", {"RELAY_RUNNER_URL": relay["url"], "RELAY_RUNNER_TOKEN": token}) as here:
            for kills in ("runner_pid", "provider_pid", None):
                here.start("bob", "demo", "--prompt", "echo by myself")
                until("it went in", lambda: _prompts(here, "by myself") == 1)
                if kills is not None:
                    kill(here.runner_pid("bob"))
                    kill(getattr(here, kills)("bob"))
            last = there.send("bob", "echo last")
            assert last == 1, "the relay never heard of the prompt"
            assert there.settled(last)["result"] == "last"
            assert _prompts(here, "by myself") == 1


def _prompts(place: Home, words: str) -> int:
    files = (place.state / "agents" / "bob" / "demo").glob("*.jsonl")
    records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sum(record["type"] == "prompt" and words in record["text"] for record in records)
