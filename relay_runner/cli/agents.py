"""ps, attach, logs, stop, kill, restart, interrupt, compact, clear, inject: what people do with running agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_runner.cli import loop, output, words
from relay_runner.cli.exits import Exit

if TYPE_CHECKING:
    from relay_runner.protocol.agents import Agent, Status
    from relay_runner.protocol.control import RunnerInfo

AgentArgument = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's id; see ps.")]
ForceFlag = Annotated[bool, typer.Option("--force", help="Also while somebody is attached to it.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (ps, attach, logs, stop, kill, restart, interrupt, retry, compact, clear, inject):
        app.command(command.__name__, cls=words.PlainCommand)(command)


def ps(as_json: JsonFlag = False) -> None:
    """List the agents and what they do."""
    rows = loop.run(_list_agents())
    if as_json:
        output.say_json(rows)
        return
    from relay_runner.cli import compose

    output.table(
        ("agent", "provider", "status", "since", "queued", "pid", "why"),
        [
            (
                row["agentId"],
                row["provider"] or "-",
                row["status"],
                output.age(row["since"]),
                row["queued"],
                row["pid"] or "-",
                "; ".join(part for part in _why(row) if part) or "-",
            )
            for row in rows
        ],
        empty="no agents" + ("" if compose.inside_agent() else ": `relay-runner start` starts one"),
    )


def attach(agent: AgentArgument) -> int:
    """Show an agent's terminal; leave it by Ctrl-] d."""
    from relay_runner import config
    from relay_runner.cli import compose, local, viewing

    compose.refuse_inside("attach to a terminal")
    paths = config.paths()
    return viewing.watch(paths, local.require_live(paths, agent), None)


def logs(
    agent: AgentArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing what is added.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", help="How many of the last lines.", min=0)] = 200,
) -> None:
    """Show what an agent's runner logged."""
    from relay_runner import config
    from relay_runner.cli import compose, local, logfile

    compose.refuse_inside("read the runner's log")
    paths = config.paths()
    if local.runner_pid(paths, local.require_known(paths, agent)) is None:
        output.note(f"{agent} does not run: {local.how_to_start(agent)}")
    for text in logfile.read(paths.agent(agent).log, lines, follow=follow):
        output.say(text)


def stop(
    agent: AgentArgument,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long it may take.", min=0.1)] = 20.0,
    as_json: JsonFlag = False,
) -> int:
    """End an agent; messages for it wait.

    Its program is asked to quit, then made to."""
    from relay_runner.cli import orders

    return _report(loop.run(orders.stop(agent, timeout)), "stopped", as_json)


def kill(agent: AgentArgument, force: ForceFlag = False, as_json: JsonFlag = False) -> int:
    """End an agent by force.

    Ends its program, its terminal and its runner, also where nothing answers any more."""
    from relay_runner.cli import orders

    return _report(loop.run(orders.kill(agent, force=force)), "killed", as_json)


def restart(
    agent: AgentArgument,
    force: ForceFlag = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long it may take.", min=0.1)] = 60.0,
    as_json: JsonFlag = False,
) -> int:
    """Restart an agent's program in the same session."""
    from relay_runner.cli import orders

    return _report(loop.run(orders.order(agent, "agent.restart", timeout, {"force": force})), "restarted", as_json)


def interrupt(
    agent: AgentArgument,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long it may take.", min=0.1)] = 10.0,
    as_json: JsonFlag = False,
) -> int:
    """Stop what an agent is doing now.

    The agent stays, and takes the next message."""
    from relay_runner.cli import orders

    return _report(loop.run(orders.order(agent, "agent.interrupt", timeout)), "interrupted", as_json)


def retry(
    agent: AgentArgument,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long it may take.", min=0.1)] = 10.0,
    as_json: JsonFlag = False,
) -> int:
    """End an agent's wait for a rate limit now.

    What was cut off is continued, and what waits goes in; a limit that is still there holds it again."""
    from relay_runner.cli import orders

    return _report(loop.run(orders.order(agent, "agent.retry", timeout)), "retried", as_json)


def compact(
    agent: AgentArgument,
    instructions: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the summary must keep, if the program supports it.")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long it may take.", min=0.1)] = 60.0,
    as_json: JsonFlag = False,
) -> int:
    """Let an agent shorten what it remembers.

    Its session goes on with a summary of what was said."""
    from relay_runner.cli import orders

    args = {"instructions": instructions} if instructions else {}
    return _report(loop.run(orders.order(agent, "agent.compact", timeout, args)), "compacted", as_json)


def clear(
    agent: AgentArgument,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long it may take.", min=0.1)] = 30.0,
    as_json: JsonFlag = False,
) -> int:
    """Begin a new session in an agent.

    It forgets what was said; messages that wait for it go into the new session."""
    from relay_runner.cli import orders

    return _report(loop.run(orders.order(agent, "agent.clearContext", timeout)), "cleared", as_json)


def inject(
    agent: AgentArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it is to know; - reads it from stdin.")],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the agent.")] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long it may take.", min=0.1)] = 30.0,
    as_json: JsonFlag = False,
) -> int:
    """Give an agent context, without a turn of its own.

    The model has it from its next turn on. An agent whose program takes no such context refuses."""
    from relay_runner.cli import messages, orders

    args = {"content": messages.read_body(text, "context"), **({"reason": reason} if reason else {})}
    return _report(loop.run(orders.order(agent, "agent.injectContext", timeout, args)), "given the context", as_json)


async def _list_agents() -> list[dict[str, Any]]:
    import asyncio

    from relay_runner.cli import local, own, session

    async with session.open_session() as opened:
        listed = {agent.id: agent for agent in await opened.relay.agents()}
        runners = {} if opened.access.inside else local.all_live(opened.paths)
        left = {} if opened.access.inside else local.all_left_behind(opened.paths)
        # A relay on a full disk can note nothing new of anyone.
        full = not local.has_room(opened.paths)
        unheard = {one for one in runners if full or one not in listed or not listed[one].connected}
        told = {agent_id: await asyncio.to_thread(own.status, opened.paths, agent_id) for agent_id in unheard}
    rows = [
        _row(agent_id, listed.get(agent_id), runners.get(agent_id), told.get(agent_id))
        for agent_id in sorted({*listed, *runners, *left})
    ]
    for row in rows:
        if (program := left.get(row["agentId"])) is not None:
            why = f"its runner died, its program still runs: `relay-runner start --agent-id {row['agentId']}` adopts it"
            # The relay may not know yet that the runner is gone.
            row.update(provider=program.provider, status="offline", ready=False, busyReasons=[], detail=why)
    return rows


def _row(agent_id: str, agent: Agent | None, runner: RunnerInfo | None, told: Status | None) -> dict[str, Any]:
    """Return the stable shape of `ps --json`: what the relay says, and what this machine knows beside it."""
    from msgspec import to_builtins

    from relay_runner.cli import own

    status = agent.status if agent is not None else None
    if status is not None and agent is not None and agent.connected and told is not None:
        status = told
    silent = runner is not None and (status is None or status.agent_status == "offline")
    silent = silent and not (told is not None and told.detail)  # what it says itself is nearer
    transport = told.transport if told is not None else status.transport if status is not None else None
    work = status.active_work if status is not None else ()
    meta = agent.meta if agent is not None else {}
    return {
        "agentId": agent_id,
        "provider": (agent.provider if agent else None) or (runner.provider if runner else None),
        "status": str(status.agent_status) if status is not None else "offline",
        "busyReasons": list(status.busy_reasons) if status is not None else [],
        "detail": own.explain(told, known=agent is not None) if silent or status is None else status.detail,
        "held": [to_builtins(one) for one in status.held] if status is not None else [],
        "ready": status.ready if status is not None else False,
        "pid": runner.pid if runner else None,
        "runnerId": runner.runner_id if runner else (agent.runner_id if agent else None),
        "tmuxSession": runner.tmux_session if runner else meta.get("tmuxSession"),
        "tmuxSocket": runner.tmux_socket if runner else meta.get("tmuxSocket"),
        "sessionId": (status.provider_session_id if status else None) or (runner.session_id if runner else None),
        "model": meta.get("model"),
        "effort": meta.get("effort"),
        "context": to_builtins(status.context) if status is not None else None,
        "queued": agent.queued if agent else 0,
        "spentToday": meta.get("spentToday"),
        "obligations": agent.obligations if agent else 0,
        "since": min((one.started_at for one in work), default=(status.since if status else 0.0)) or None,
        "transport": to_builtins(transport),
        "timeline": [to_builtins(event) for event in status.timeline] if status is not None else [],
    }


def _why(row: dict[str, Any]) -> tuple[str, ...]:
    """Return what a person should know of what the agent is at, and of what waits there."""
    waits = output.held([(one["messageId"], one["reason"], one["since"]) for one in row["held"]])
    return row["detail"] or output.reasons(row["busyReasons"]) or _reached(row), waits


def _reached(row: dict[str, Any]) -> str:
    """Return what a person should know of the way between the agent and the relay; nothing where all is well."""
    by_http = row["transport"] is not None and row["transport"]["state"] == "http-only"
    return "its bus is gone, messages come every 20 s by HTTP" if by_http else ""


def _report(result: dict[str, Any], done: str, as_json: bool) -> int:
    ok = bool(result.pop("ok"))
    if as_json:
        output.say_json(result)
    elif ok:
        output.say(f"{result['agentId']}: {output.line(result.get('reason') or done)}")
    else:
        output.note(f"{result['agentId']} was not {done}: {output.line(result.get('reason') or 'no reason given')}")
    return Exit.OK if ok else Exit.FAILED
