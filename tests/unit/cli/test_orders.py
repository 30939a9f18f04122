"""Orders by the relay, and what is left to do where it cannot help."""

from __future__ import annotations

import asyncio
import io
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from relay_runner import config
from relay_runner.cli import compose, orders
from relay_runner.errors import RelayUnavailable
from relay_runner.protocol.commands import CommandState, CommandUpdate, NewCommand
from tests.unit.cli.conftest import World
from tests.unit.cli.test_local import Runner, program, save_program, start

__all__ = ["program", "start"]


def obey(world: World, monkeypatch: pytest.MonkeyPatch, state: CommandState, **result: Any) -> list[NewCommand]:
    """Let the agent bob settle every command at once; return the commands as they come."""
    bob = world.agent("bob")
    given: list[NewCommand] = []
    command = world.person.command

    async def and_obey(new: NewCommand) -> Any:
        given.append(new)
        made = await command(new)
        if state is not CommandState.ACCEPTED:
            for step in (CommandState.RUNNING, state):
                made = await bob.update_command(made.id, CommandUpdate(state=step, result=result))
        return made

    monkeypatch.setattr(world.person, "command", and_obey)
    return given


@pytest.fixture
def paths(world: World) -> config.Paths:
    return world.paths


@pytest.mark.parametrize(
    ("verb", "type", "done"),
    [
        ("restart", "agent.restart", "restarted"),
        ("interrupt", "agent.interrupt", "interrupted"),
        ("retry", "agent.retry", "retried"),
        ("compact", "agent.compact", "compacted"),
        ("clear", "agent.clearContext", "cleared"),
    ],
)
def test_an_order_is_given_and_its_end_told(
    world: World, monkeypatch: pytest.MonkeyPatch, verb: str, type: str, done: str
) -> None:
    given = obey(world, monkeypatch, CommandState.SUCCEEDED, action=verb)
    assert world.run(verb, "bob")[0] == f"bob: {done}\n"
    assert (given[0].type, given[0].target) == (type, "bob")
    assert world.json(verb, "bob")["result"]["action"] == verb


def test_context_is_given_with_its_reason(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = obey(world, monkeypatch, CommandState.SUCCEEDED)
    assert world.run("inject", "bob", "the door is blue", "--reason", "recalled")[0] == "bob: given the context\n"
    assert (given[0].type, given[0].args) == (
        "agent.injectContext",
        {"content": "the door is blue", "reason": "recalled"},
    )
    world.run("inject", "bob", "\u2003", code=2)


def test_context_can_come_by_stdin(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = obey(world, monkeypatch, CommandState.SUCCEEDED)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"two\nlines\n")))
    world.run("inject", "bob", "-")
    assert given[0].args == {"content": "two\nlines\n"}


def test_a_failed_order_says_why(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    obey(world, monkeypatch, CommandState.FAILED, reason="cannot be \x1b[1minterrupted")
    assert world.run("interrupt", "bob", code=1)[1] == (
        "relay-runner: bob was not interrupted: cannot be [1minterrupted\n"
    )


def test_an_order_that_nobody_answers_times_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "POLL_S", 0.01)
    obey(world, monkeypatch, CommandState.ACCEPTED)
    assert "bob was not restarted: " in world.run("restart", "bob", "--timeout", "0.1", code=1)[1]


def test_an_agent_that_is_away_cannot_be_ordered(world: World) -> None:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    from tests.unit.cli.conftest import hello

    world.hub.join(hello("bob"), queue)
    world.hub.members.leave("bob", queue)
    said = "relay-runner: bob does not run: `relay-runner start --agent-id bob` starts it\n"
    assert world.run("restart", "bob", code=1)[1] == said
    assert world.run("stop", "bob")[0] == "bob: its runner had ended; it is listed no more\n"
    assert world.json("ps") == []
    config.private_dir(world.paths.agent("bob").root)
    assert world.run("interrupt", "bob", code=1)[1] == said
    assert world.run("stop", "bob")[0] == "bob: does not run\n"


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_a_program_without_its_runner_is_ended(world: World, program: subprocess.Popen[bytes], verb: str) -> None:
    save_program(world.paths, "bob", program.pid)
    assert world.run(verb, "bob")[0] == "bob: its runner had ended; its program was ended\n"
    assert program.wait(30) < 0
    assert world.json("ps") == []


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_a_runner_that_never_said_where_it_is_is_ended(world: World, start: Callable[[str], Runner], verb: str) -> None:
    world.agent("bob")
    world.hub.members.leave("bob", world.hub.members.all["bob"].frames)  # type: ignore[arg-type]
    _, runner = start("bob")
    world.paths.agent("bob").info.unlink()
    assert world.run(verb, "bob")[0] == f"bob: {'stopped' if verb == 'stop' else 'killed'}\n"
    assert runner.wait(30) < 0
    assert verb == "stop" or world.json("ps") == []


def test_what_never_was_is_not_found(world: World) -> None:
    world.agent("bob")
    assert "bob" in world.run("restart", "bop", code=2)[1]
    assert "bop" in world.run("stop", "bop", code=2)[1]


@pytest.fixture
def relay_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the relay unreachable."""

    @asynccontextmanager
    async def gone(*_: object) -> AsyncIterator[None]:
        raise RelayUnavailable("no relay")
        yield

    seam: Callable[..., Any] = gone
    monkeypatch.setattr(compose, "relay_at", seam)


@pytest.mark.usefixtures("relay_is_gone")
def test_without_a_relay_a_dead_agent_is_stopped_already(world: World) -> None:
    config.private_dir(world.paths.agent("bob").root)
    assert world.run("stop", "bob")[0] == "bob: does not run\n"
    assert world.run("kill", "bob")[0] == "bob: does not run\n"
    assert "no relay" in world.run("stop", "eve", code=1)[1]
