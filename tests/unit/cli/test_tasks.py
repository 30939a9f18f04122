"""Tasks by the command line."""

from __future__ import annotations

import asyncio

import pytest

from relay_runner.protocol.commands import NewTask, TaskState
from relay_runner.protocol.messages import Outcome
from tests.unit.cli.conftest import World, carry


def test_send_with_task_opens_one_that_goes_with_the_turn(world: World) -> None:
    bob = world.agent("bob")
    sent = world.json("send", "bob", "paint the door\nblue", "--task")
    assert sent["taskId"] == 1
    assert world.run("task", "list")[0].splitlines()[1].split()[:2] == ["1", "open"]
    asyncio.run(carry(bob, "bob", sent["id"], Outcome.COMPLETED, "painted"))
    shown = world.json("task", "show", "1")
    assert (shown["subject"], shown["state"], shown["agentId"]) == ("paint the door", "done", "bob")
    assert shown["metadata"] == {"messageId": sent["id"], "attempt": 1, "outcome": "completed"}
    assert "task:      1\n" in world.run("read", str(sent["id"]))[0]
    said = world.run("task", "show", "1")[0]
    for line in (
        "task:      1",
        "subject:   paint the door",
        "state:     done",
        "message:   1",
        "outcome:   completed",
    ):
        assert f"{line}\n" in said


def test_the_subject_of_the_message_is_that_of_the_task(world: World) -> None:
    world.agent("bob")
    world.run("send", "bob", "body", "--task", "--subject", "door")
    assert world.json("task", "show", "1")["subject"] == "door"


def test_a_message_that_is_refused_leaves_no_open_task(world: World) -> None:
    world.run("send", "nobody", "body", "--task", code=2)
    task = world.json("task", "show", "1")
    assert task["state"] == "failed" and task["metadata"]["reason"] == "not sent: there is no agent nobody"


def test_tasks_are_listed_by_state_and_agent(world: World) -> None:
    for subject in ("one", "two"):
        asyncio.run(world.person.create_task(NewTask(subject=subject)))
    assert world.run("task", "set", "1", "failed", "--reason", "no \x1b[31mpaint")[0].splitlines()[-1] == (
        "reason:    no [31mpaint"
    )
    assert [task["id"] for task in world.json("task", "list")] == [2, 1]
    assert [task["id"] for task in world.json("task", "list", "--state", "failed", "--state", "done")] == [1]
    assert world.json("task", "list", "--agent", "bob") == []
    assert world.run("task", "list", "--agent", "bob")[1] == "relay-runner: no tasks: `send --task` opens one\n"
    assert asyncio.run(world.person.get_task(1)).state is TaskState.FAILED


@pytest.mark.parametrize("words", [("set", "1", "finished"), ("list", "--state", "closed")])
def test_a_state_that_is_none_is_refused(world: World, words: tuple[str, ...]) -> None:
    assert "use open, in_progress, done, failed" in world.run("task", *words, code=2)[1]


def test_a_task_that_is_not_there_is_said(world: World) -> None:
    assert world.run("task", "show", "7", code=2)[1] == "relay-runner: there is no task 7\n"


def test_the_group_says_what_it_has(world: World) -> None:
    said = world.run("task")[0]
    assert all(word in said for word in ("list", "show", "set"))
