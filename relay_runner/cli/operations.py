"""operate, review, fork, revert, models, usage, limits: what an agent's own program can do beside taking messages."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_runner.cli import answers, loop, output, words
from relay_runner.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REVIEW_S = 600.0
LOOK_S = 1.0
GONE_AFTER = 3
_JSON = re.compile(r'-?\d{1,15}|true|false|null|[\[{"].*', re.DOTALL)
"""How many looks in a row must not find the turn of a review before it counts as gone."""
AgentArgument = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's id; see ps.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TimeoutOption = Annotated[float, typer.Option(metavar="SECONDS", help="How long it may take.", min=0.1)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (operate, review, fork, revert, models, usage, limits):
        app.command(command.__name__, cls=words.PlainCommand)(command)


def operate(
    agent: AgentArgument,
    operation: Annotated[
        str | None, typer.Argument(metavar="[OPERATION]", help="What it is to do; without it, list what it can.")
    ] = None,
    args: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="The arguments; VALUE is JSON, or a text.")
    ] = None,
    timeout: TimeoutOption = 60.0,
    as_json: JsonFlag = False,
) -> int:
    """Let an agent's program do one of its own operations, or list them."""
    if operation is None:
        return _do(agent, "operations", {}, timeout, as_json, answers.operations)
    return _do(agent, _camel(operation), _read(args or ()), timeout, as_json, answers.anything)


def review(
    agent: AgentArgument,
    instructions: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="What to review, in words; default: what is not committed.")
    ] = None,
    branch: Annotated[str | None, typer.Option(metavar="NAME", help="Review against this branch.")] = None,
    commit: Annotated[str | None, typer.Option(metavar="ID", help="Review this commit.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for what it says.")] = True,
    timeout: TimeoutOption = REVIEW_S,
    as_json: JsonFlag = False,
) -> int:
    """Let an agent review changes, and show what it says.

    Without TEXT or an option it reviews what is not committed in its folder. Messages wait until it is done."""
    wanted = {"instructions": instructions, "branch": branch, "commit": commit}
    args = {name: value for name, value in wanted.items() if value is not None}
    result = loop.run(_review(agent, args, timeout, wait=wait))
    found = answers.provider_result(result)
    if as_json or not result["ok"]:
        return _tell(result, as_json, answers.anything)
    if not wait or found.get("outcome") is None:
        look = f"relay-runner operate {agent} turns turnId={found['turnId']}"
        output.say(f"{agent}: reviewing; `{look}` shows what it says")
        return Exit.TIMED_OUT if wait else Exit.OK
    return answers.turn(agent, found)


def fork(
    agent: AgentArgument,
    switch: Annotated[bool, typer.Option("--switch", help="The agent goes on in the copy.")] = False,
    last: Annotated[str | None, typer.Option(metavar="TURN", help="Copy up to this turn.")] = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonFlag = False,
) -> int:
    """Copy an agent's session into a new one."""
    args = {"switch": switch, **({"last": last} if last else {})}
    return _do(agent, "fork", args, timeout, as_json, answers.forked)


def revert(
    agent: AgentArgument,
    turns: Annotated[int, typer.Argument(metavar="[N]", help="How many turns.", min=1)] = 1,
    timeout: TimeoutOption = 30.0,
    as_json: JsonFlag = False,
) -> int:
    """Take an agent's last turns back.

    They are taken out of its conversation; files stay as they are."""
    return _do(agent, "revert", {"turns": turns}, timeout, as_json, answers.reverted)


def models(agent: AgentArgument, timeout: TimeoutOption = 30.0, as_json: JsonFlag = False) -> int:
    """List the models that an agent could use."""
    return _do(agent, "models", {}, timeout, as_json, answers.models)


def usage(agent: AgentArgument, timeout: TimeoutOption = 30.0, as_json: JsonFlag = False) -> int:
    """Show the tokens that an agent's session used."""
    return _do(agent, "usage", {}, timeout, as_json, answers.anything)


def limits(agent: AgentArgument, timeout: TimeoutOption = 30.0, as_json: JsonFlag = False) -> int:
    """Show the rate limits of an agent's account."""
    return _do(agent, "limits", {}, timeout, as_json, answers.limits)


# --- inside -----------------------------------------------------------------------------------------------------------


def _do(
    agent: str,
    operation: str,
    args: Mapping[str, Any],
    timeout: float,
    as_json: bool,
    show: Callable[[str, Mapping[str, Any]], None],
) -> int:
    from relay_runner.cli import orders

    return _tell(loop.run(orders.order(agent, f"agent.{operation}", timeout, args)), as_json, show)


def _tell(result: dict[str, Any], as_json: bool, show: Callable[[str, Mapping[str, Any]], None]) -> int:
    ok, agent = bool(result.pop("ok")), result["agentId"]
    if as_json:
        output.say_json(result)
    elif ok:
        show(agent, answers.provider_result(result))
    else:
        output.note(f"{agent}: {output.line(result.get('reason') or 'no reason given', 1000)}")
    return Exit.OK if ok else Exit.FAILED


async def _review(agent: str, args: Mapping[str, Any], timeout_s: float, *, wait: bool) -> dict[str, Any]:
    """Start a review and look, until its turn has ended, what became of it."""
    import asyncio
    import time

    from relay_runner.cli import orders
    from relay_runner.protocol.commands import MAX_COMMAND_TIMEOUT_S

    deadline = time.monotonic() + timeout_s
    begun = await orders.order(agent, "agent.review", min(timeout_s, MAX_COMMAND_TIMEOUT_S), args)
    started = answers.provider_result(begun)
    missed = 0
    while begun["ok"] and wait and time.monotonic() < deadline:
        asked = await orders.order(agent, "agent.turns", 30.0, {"turnId": started["turnId"]})
        told = (answers.provider_result(asked).get("turns") or [{}])[0] if asked["ok"] else None
        # A program that was killed in the middle of a review resumes its session without a trace of it.
        missed = missed + 1 if told == {} else 0
        if missed >= GONE_AFTER:
            told = {"outcome": "interrupted", "reason": "the program ended during the review"}
        if told and told.get("outcome") is not None:
            begun["result"]["providerResult"] = {**started, **told}
            break
        await asyncio.sleep(LOOK_S)
    return begun


def _camel(name: str) -> str:
    """Return an operation as the program calls it, also where a person typed it with dashes."""
    first, *others = name.split("-")
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def _read(given: Sequence[str]) -> dict[str, Any]:
    """Return KEY=VALUE words as arguments: JSON where a value looks like it, else a text."""
    import json

    args: dict[str, Any] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{word!r} is not KEY=VALUE")
        args[_camel(name)] = value
        if _JSON.fullmatch(value):
            with contextlib.suppress(ValueError):  # then it is a text after all
                args[_camel(name)] = json.loads(value)
    return args
