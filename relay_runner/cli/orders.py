"""Orders about agents: by the relay, and for stop and kill by this machine's files where the relay cannot help."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from relay_runner import config
from relay_runner.cli import compose, ending, local, session
from relay_runner.errors import AgentAttended, RelayNotFound, RelayRefused, RelayUnavailable
from relay_runner.protocol.addresses import check_agent_id
from relay_runner.protocol.commands import MAX_COMMAND_TIMEOUT_S, Command, CommandState, NewCommand

POLL_S = 0.2
VERDICT_S = 2.0
"""How much longer than its own time a command is looked at, for the relay to say how it ended."""
WORDS = {
    "agent.restart": "restart an agent",
    "agent.interrupt": "interrupt an agent",
    "agent.compact": "compact an agent's session",
    "agent.clearContext": "clear an agent's session",
    "agent.injectContext": "give an agent context",
}
GRACE_S = 5.0
"""How long a program that no runner looks after may take to quit."""
RETIRE_S = 10.0
FORCE_AFTER_S = 5.0
"""How long `kill` waits for the runner to do it in order before it does it itself."""


async def order(agent_id: str, kind: str, timeout_s: float, args: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give an order by the relay and return what became of it: `ok`, `agentId`, `state`, `reason`, `result`."""
    check_agent_id(agent_id)
    async with session.open_session(only_person=WORDS.get(kind, "operate an agent")) as opened:
        if local.live(opened.paths, agent_id) is None and not await _connected(opened, agent_id):
            raise RelayRefused(f"{agent_id} does not run", hint=local.how_to_start(agent_id), code="offline")
        command = await _settle(opened, agent_id, kind, timeout_s, args)
    return _result(agent_id, command, timeout_s)


async def stop(agent_id: str, timeout_s: float) -> dict[str, Any]:
    """End an agent's runner in order; without a relay or an answer, by a signal to it.

    Of an agent without a runner the program that still runs is ended, and the relay lists it no more.
    """
    check_agent_id(agent_id)
    compose.refuse_inside("stop an agent")
    paths = config.paths()
    pid = local.runner_pid(paths, agent_id)
    deadline = time.monotonic() + timeout_s
    command = await _try_order(agent_id, "agent.shutdown", timeout_s if pid is None else timeout_s / 2)
    if pid is None:
        if command is not None:
            return _result(agent_id, command, timeout_s)
        return await _clear_away(paths, agent_id, await ending.program(paths, agent_id, grace_s=GRACE_S))
    if command is None or command.state is not CommandState.SUCCEEDED:
        local.signal_runner(paths, agent_id, pid, signal.SIGTERM)
    if await asyncio.to_thread(local.wait_gone, paths, agent_id, pid, max(1.0, deadline - time.monotonic())):
        return _done(agent_id)
    reason = f"its runner (pid {pid}) still runs after {timeout_s:g} s; use `relay-runner kill {agent_id}`"
    return {"ok": False, "agentId": agent_id, "state": "failed", "reason": reason, "result": {}}


async def kill(agent_id: str, *, force: bool = False) -> dict[str, Any]:
    """End an agent now: by order if its runner answers, then whatever is left of it by force.

    A person who is attached to it is left alone, unless with `force`.
    """
    check_agent_id(agent_id)
    compose.refuse_inside("kill an agent")
    paths = config.paths()
    pid = local.runner_pid(paths, agent_id)
    command = await _try_order(agent_id, "agent.kill", FORCE_AFTER_S, {"force": force})
    if command is not None and command.result.get("code") == AgentAttended.code:
        return _result(agent_id, command, FORCE_AFTER_S)
    if pid is None and command is not None:
        return _result(agent_id, command, FORCE_AFTER_S)
    obeyed = command is not None and command.state is CommandState.SUCCEEDED
    # Where it obeyed, its program is dead, and what the runner still does is telling the relay.
    if pid is not None and obeyed and await asyncio.to_thread(local.wait_gone, paths, agent_id, pid, FORCE_AFTER_S):
        return _done(agent_id, ended=["provider", "runner", *await ending.by_force(paths, agent_id, None)])
    ended = await ending.by_force(paths, agent_id, pid)
    if pid is None:
        return await _clear_away(paths, agent_id, ended)
    await _retire(agent_id)
    return _done(agent_id, ended=ended)


async def _try_order(
    agent_id: str, kind: str, timeout_s: float, args: Mapping[str, Any] | None = None
) -> Command | None:
    """Give an order if the relay is there and the agent is connected to it; None where that could not be done."""
    try:
        async with asyncio.timeout(timeout_s + 5), session.open_session(start=False) as opened:
            if not (await opened.relay.agent(agent_id)).connected:
                return None
            return await _settle(opened, agent_id, kind, timeout_s, args)
    except (RelayUnavailable, RelayRefused, TimeoutError):
        return None


async def _settle(
    opened: session.Session, agent_id: str, kind: str, timeout_s: float, args: Mapping[str, Any] | None = None
) -> Command:
    """Post a command and return it when it settled, or as it is when its time is over."""
    new = NewCommand(
        type=kind,
        target=agent_id,
        args=dict(args or {}),
        timeout_s=min(timeout_s, MAX_COMMAND_TIMEOUT_S),
        idempotency_key=uuid.uuid4().hex,
    )
    command = await opened.relay.command(new)
    # The relay ends a command at its own deadline: who stops looking at that instant would miss the reason.
    deadline = time.monotonic() + timeout_s + VERDICT_S
    while command.state not in (CommandState.SUCCEEDED, CommandState.FAILED) and time.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
        command = await opened.relay.get_command(command.id)
    return command


async def _connected(opened: session.Session, agent_id: str) -> bool:
    """Say whether the relay has the agent's runner; one that nobody knows is `RelayNotFound`, with the nearest name."""
    try:
        return (await opened.relay.agent(agent_id)).connected
    except RelayNotFound:
        if agent_id in local.known(opened.paths):
            return False
        raise


async def _clear_away(paths: config.Paths, agent_id: str, ended: list[str]) -> dict[str, Any]:
    """Answer for an agent without a runner, and retire it: fine if it is known, an error if it is not."""
    if agent_id not in local.known(paths):
        async with session.open_session(start=False) as opened:
            await opened.relay.agent(agent_id)  # raises RelayNotFound, with the nearest name
    retired = await _retire(agent_id)
    said = ["its program was ended"] * bool(ended) + ["it is listed no more"] * retired
    return _done(agent_id, reason="; ".join(["its runner had ended" if said else "does not run", *said]), ended=ended)


async def _retire(agent_id: str) -> bool:
    """Take an agent off the relay's list; False where it was not on it, or where the relay cannot help."""
    try:
        async with asyncio.timeout(RETIRE_S), session.open_session(start=False) as opened:
            await opened.relay.remove_agent(agent_id)
    except (RelayUnavailable, RelayRefused, TimeoutError):
        return False
    return True


def _done(agent_id: str, *, reason: str | None = None, ended: Sequence[str] = ()) -> dict[str, Any]:
    result = {"ended": list(ended)} if ended else {}
    return {"ok": True, "agentId": agent_id, "state": "succeeded", "reason": reason, "result": result}


def _result(agent_id: str, command: Command, timeout_s: float) -> dict[str, Any]:
    # Of what was done it is why it was ordered, which the one who ordered it knows.
    reason = command.result.get("reason") if command.state is CommandState.FAILED else None
    if command.state not in (CommandState.SUCCEEDED, CommandState.FAILED):
        reason = f"no answer within {timeout_s:g} s"
    return {
        "ok": command.state is CommandState.SUCCEEDED,
        "agentId": agent_id,
        "state": str(command.state),
        "reason": reason,
        "result": dict(command.result),
    }
