"""Orders and tasks by the command line: what an agent remembers, what its program cannot do, and work with a record.

Promises: commands, injectContext, restart and tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Home, home, kill, until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def _row(place: Home, agent: str) -> dict[str, Any]:
    return next(row for row in place.json("ps") if row["agentId"] == agent)


def test_what_an_agent_remembers_can_be_added_to_shortened_and_cleared(place: Home) -> None:
    place.start("bob", "demo")
    assert place.run("inject", "bob", "-", "--reason", "recalled", stdin="the door\nis blue\n").stdout == (
        "bob: given the context\n"
    )
    assert place.run("send", "bob", "recall", "--wait").stdout == "the door\nis blue\n"
    given = place.json("inject", "bob", "and open")
    assert given["result"]["count"] == 1 and given["result"]["action"] == "agent.injectContext"
    before = _row(place, "bob")["sessionId"]
    assert place.run("compact", "bob").stdout == "bob: compacted\n"
    assert _row(place, "bob")["sessionId"] == before
    assert place.run("clear", "bob").stdout == "bob: cleared\n"
    assert _row(place, "bob")["sessionId"] != before
    assert place.run("send", "bob", "recall", "--wait").stdout == "nothing\n"
    cleared = _row(place, "bob")["sessionId"]
    place.run("inject", "bob", "the door is red")
    place.run("restart", "bob")
    assert place.run("send", "bob", "recall", "--wait").stdout == "the door is red\n", "the conversation goes on"
    assert _row(place, "bob")["sessionId"] == cleared


def test_what_a_program_cannot_do_is_refused_with_what_it_can(place: Home) -> None:
    place.start("sh", "generic", "--", "bash", "--norc", "-i")
    for verb in ("compact", "clear"):
        said = place.run(verb, "sh", check=1).stderr
        assert f"this agent cannot '{verb}': it can " in said and "restart" in said and "agent." not in said
    assert "this agent cannot 'inject'" in place.run("inject", "sh", "words", check=1).stderr
    place.run("inject", "sh", " ", check=2)


def test_a_task_goes_with_the_turn_that_carries_it_whoever_is_killed(place: Home) -> None:
    place.start("bob", "demo")
    sent = place.json("send", "bob", "slow 5 painted", "--task", "--subject", "paint the door")
    until("the task is in progress", lambda: place.json("task", "show", "1")["state"] == "in_progress")
    kill(place.runner_pid("bob"))
    place.start("bob", "demo")
    place.settled(sent["id"])
    task = place.json("task", "show", "1")
    assert (task["subject"], task["state"], task["agentId"]) == ("paint the door", "done", "bob")
    assert (task["metadata"]["messageId"], task["metadata"]["outcome"]) == (sent["id"], "completed")
    place.run("send", "bob", "fail no paint", "--task", "--wait", check=1)
    waits = place.json("send", "bob", "slow 60", "--task")
    place.reaches(waits["id"], "seen")
    place.run("interrupt", "bob")
    place.settled(waits["id"])
    assert [(one["id"], one["state"]) for one in place.json("task", "list", "--state", "failed")] == [
        (3, "failed"), (2, "failed"),
    ]  # fmt: skip
    assert place.json("task", "show", "2")["metadata"]["reason"] == "no paint"
