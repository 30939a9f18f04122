"""A runner that is killed around a reminder: the message settles, and is asked for at most once more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Home, home, kill, until

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        made.start("bob", "demo")
        yield made


def _records(place: Home) -> list[dict[str, Any]]:
    files = (place.state / "agents" / "bob" / "demo").glob("*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines() if line.startswith("{")]


def _prompts(place: Home, words: str) -> int:
    return sum(record["type"] == "prompt" and words in record["text"] for record in _records(place))


@pytest.mark.parametrize("moment", ["its turn ended", "it was reminded"])
@pytest.mark.parametrize("everything", [False, True], ids=["the runner", "its program, too"])
def test_the_message_settles_and_is_asked_for_once_at_most(place: Home, moment: str, everything: bool) -> None:
    id = place.send("bob", "slow 0.3 I think so", "--reply-required")
    if moment == "its turn ended":
        until(moment, lambda: any(record["type"] == "turn-ended" for record in _records(place)))
    else:
        until(moment, lambda: _prompts(place, "still wants a reply"))
    kill(place.runner_pid("bob"))
    if everything:
        kill(place.provider_pid("bob"))
    place.start("bob", "demo")
    done = place.settled(id)
    assert (done["outcome"], done["result"]) == ("completed", "I think so")
    assert place.settled(place.send("bob", "echo next"))["result"] == "next"
    assert _prompts(place, "slow 0.3") == 1
    assert _prompts(place, "still wants a reply") <= 1
