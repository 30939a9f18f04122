"""A limited model, and a kill at every step between the limit and the end of the continuation."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Home, home, kill, until

pytestmark = pytest.mark.slow

HELD = "rate-limited until "
BODY = "limit 3 went on"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        made.state.mkdir(parents=True, exist_ok=True)
        (made.state / "config.toml").write_text("[limits]\nleast_s = 1\n")
        yield made


def _prompts(place: Home) -> list[str]:
    """Return every prompt that the demo agent was ever given."""
    files = (place.state / "agents" / "bob" / "demo").glob("*.jsonl")
    records = [json.loads(line) for file in files for line in file.read_text().splitlines() if line.startswith("{")]
    return [str(record["text"]) for record in records if record["type"] == "prompt"]


def _stage(place: Home) -> str:
    with sqlite3.connect(place.state / "agents" / "bob" / "journal.db") as db:
        rows = db.execute("SELECT stage FROM deliveries ORDER BY message_id").fetchall()
    return str(rows[0][0]) if rows else ""


def _held(place: Home, id: int) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        delivery = place.delivery(id)
        return delivery if str(delivery["held"] or "").startswith(HELD) else None

    return until(f"message {id} is held", look)


def _went_on(place: Home, id: int) -> None:
    """It was put in once with its body and once without, and the second turn settled it."""
    delivery = place.settled(id)
    assert (delivery["state"], delivery["outcome"], delivery["held"]) == ("done", "completed", None)
    prompts = _prompts(place)
    assert sum(BODY in prompt for prompt in prompts) == 1
    assert sum(f"Continue with message {id} " in prompt for prompt in prompts) == 1


def test_a_limit_is_shown_waited_for_and_the_queue_drains_in_order(place: Home) -> None:
    place.start("bob", "demo")
    first = place.send("bob", BODY)
    others = [place.send("bob", f"echo no {number}") for number in range(3)]
    assert _held(place, first)["state"] == "seen"
    assert {_held(place, id)["state"] for id in others} == {"queued"}
    (row,) = place.json("ps")
    assert row["status"] == "busy" and row["busyReasons"][0].startswith(HELD) and row["detail"].startswith(HELD)
    _went_on(place, first)
    assert place.delivery(first)["result"] == "went on"
    assert [place.settled(id)["result"] for id in others] == ["no 0", "no 1", "no 2"]
    assert "went on" in place.run("read", str(first)).stdout
    order = [prompt.split("\n")[1] for prompt in _prompts(place)]
    assert order[0] == BODY and order[1].startswith("The limit") and order[2:] == [f"echo no {n}" for n in range(3)]


def test_a_runner_killed_while_it_is_held_goes_on_where_it_was(place: Home) -> None:
    place.start("bob", "demo")
    first, second = place.send("bob", BODY), place.send("bob", "echo later")
    until_text = _held(place, first)["held"]
    kill(place.runner_pid("bob"))
    place.start("bob", "demo")
    if place.delivery(first)["state"] == "seen" and place.delivery(first)["held"]:
        assert place.delivery(first)["held"] == until_text
    _went_on(place, first)
    assert place.settled(second)["result"] == "later"


def test_a_runner_killed_as_the_turn_meets_its_limit_finds_it_in_the_records(place: Home) -> None:
    place.start("bob", "demo")
    id = place.send("bob", "slow 1 first")
    place.reaches(id, "seen")
    limited = place.send("bob", BODY)
    place.reaches(id, "done")
    until("it met the limit", lambda: any(BODY in prompt for prompt in _prompts(place)))
    kill(place.runner_pid("bob"))
    place.start("bob", "demo")
    _went_on(place, limited)


def test_a_runner_killed_between_a_continuation_and_its_proof_never_puts_it_in_twice(place: Home) -> None:
    place.start("bob", "demo")
    provider = place.provider_pid("bob")
    id = place.send("bob", BODY)
    _held(place, id)
    os.kill(provider, signal.SIGSTOP)  # tmux takes the paste, the program cannot say that it has it
    until("the continuation was handed over", lambda: _stage(place) in ("handing", "submitted"))
    kill(place.runner_pid("bob"))
    os.kill(provider, signal.SIGCONT)
    place.start("bob", "demo")
    assert place.provider_pid("bob") == provider
    delivery = place.settled(id)
    continued = sum(f"Continue with message {id} " in prompt for prompt in _prompts(place))
    assert continued <= 1
    assert delivery["state"] == ("done" if continued else "unknown")


def test_a_provider_killed_while_it_is_held_is_continued_in_its_session(place: Home) -> None:
    place.start("bob", "demo")
    before = place.provider_pid("bob")
    id = place.send("bob", BODY)
    _held(place, id)
    kill(before)
    until("another provider is ready", lambda: place.agent("bob").get("ready") and place.provider_pid("bob") != before)
    _went_on(place, id)


def test_everything_killed_while_it_is_held_comes_back(place: Home) -> None:
    place.start("bob", "demo")
    id = place.send("bob", BODY)
    _held(place, id)
    for pid in (place.relay_pid(), place.runner_pid("bob"), place.tmux_pid("bob"), place.provider_pid("bob")):
        kill(pid)
    place.start("bob", "demo")
    _went_on(place, id)


def test_a_relay_that_is_away_at_the_end_of_the_limit_is_waited_for(place: Home) -> None:
    place.start("bob", "demo")
    id = place.send("bob", BODY)
    _held(place, id)
    relay = place.relay_pid()
    os.kill(relay, signal.SIGSTOP)
    try:
        until("the limit is over", lambda: _stage(place) == "submitting")
    finally:
        os.kill(relay, signal.SIGCONT)
    _went_on(place, id)


def test_an_agent_over_its_budget_refuses_at_once_and_says_why(place: Home) -> None:
    place.start("bob", "demo", "--budget-turns", "2")
    for number in range(2):
        assert place.settled(place.send("bob", f"spend 0.5 no {number}"))["usage"]["costUsd"] == 0.5
    refused = place.run("send", "bob", "echo more", "--wait", check=1)
    assert "over budget: the agent's 2 turns of today are used up" in refused.stderr + refused.stdout
    told = place.json("send", "bob", "echo more", "--wait", check=1)
    assert (told["state"], told["deliveries"][0]["usage"]) == ("dead", None)
    kill(place.runner_pid("bob"))
    place.start("bob", "demo", "--budget-turns", "2")
    assert place.settled(place.send("bob", "echo more"))["state"] == "dead"


def test_a_budget_that_cannot_be_measured_is_refused_in_one_line(place: Home) -> None:
    refused = place.run("start", "codex", "--headless", "--budget-cost", "1", check=2)
    assert refused.stderr.count("\n") == 1 and "does not tell what a turn costs" in refused.stderr


def test_a_person_who_waits_is_told_and_can_have_it_tried_at_once(place: Home) -> None:
    place.start("bob", "demo")
    first = place.send("bob", "limit 3600 went on")
    _held(place, first)
    waiting = place.run("send", "bob", "echo behind it", "--wait", "--timeout", "4", check=3)
    assert f"bob waits ({HELD}" in waiting.stderr and "`relay-runner retry bob` tries at once" in waiting.stderr
    assert place.run("retry", "bob").stdout == "bob: retried\n"
    _held(place, first)  # the model takes nothing yet, and says so again
    assert place.run("read", str(first)).stdout.count("went on") == 1
