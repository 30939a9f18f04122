"""The rules of commands."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from relay_runner.errors import RelayRefused
from relay_runner.protocol.commands import Command, CommandState, CommandUpdate, NewCommand
from relay_runner.protocol.orders import RUNNING_SLACK_S, check_command, command_due_at, lapse_command, move_command

COMMAND = Command(id="c", type="agent.kill", target="bob", sender="person:op", created_at=0.0, timeout_s=10.0)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, 61.0, float("nan")])
def test_a_timeout_has_bounds(timeout_s: float) -> None:
    with pytest.raises(RelayRefused, match="timeoutS"):
        check_command(NewCommand(type="agent.kill", target="bob", timeout_s=timeout_s))


def test_a_command_is_about_an_agent() -> None:
    check_command(NewCommand(type="agent.kill", target="bob"))
    with pytest.raises(RelayRefused, match="shutdown"):
        check_command(NewCommand(type="shutdown", target="bob"))


def test_a_command_moves_on_and_its_end_stands() -> None:
    running = move_command(COMMAND, CommandUpdate(state=CommandState.RUNNING), 1.0)
    done = move_command(running, CommandUpdate(state=CommandState.SUCCEEDED, result={"a": 1}), 2.0)
    assert (done.state, done.result, done.updated_at) == (CommandState.SUCCEEDED, {"a": 1}, 2.0)
    assert move_command(done, CommandUpdate(state=CommandState.SUCCEEDED), 3.0) is done
    for state in (CommandState.FAILED, CommandState.RUNNING, CommandState.ACCEPTED):
        with pytest.raises(RelayRefused):
            move_command(done, CommandUpdate(state=state), 3.0)


def test_a_command_that_nobody_takes_or_answers_fails() -> None:
    assert lapse_command(COMMAND, 9.0) is COMMAND
    assert "take" in lapse_command(COMMAND, 10.0).result["reason"]
    running = replace(COMMAND, state=CommandState.RUNNING, updated_at=5.0)
    assert command_due_at(running) == 15.0 + RUNNING_SLACK_S
    assert lapse_command(running, 20.0) is running
    assert "answer" in lapse_command(running, 15.0 + RUNNING_SLACK_S).result["reason"]
    failed = lapse_command(COMMAND, 10.0)
    assert lapse_command(failed, 1e9) is failed and command_due_at(failed) is None
