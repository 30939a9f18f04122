"""The three ways of `start`: attach to a live agent, run in the foreground, or leave a runner in the background."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from relay_runner import config
from relay_runner.cli import background, choices, compose, local, loop, output, sending, service, verdict, viewing
from relay_runner.cli.choices import Flags, Request
from relay_runner.errors import ConfigError
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.messages import MessageRecord

LEAST_COLUMNS = 80
LEAST_ROWS = 23
"""What the programs draw well in."""
STATUS_ROWS = 1
"""What tmux keeps for its status line."""


def start(flags: Flags) -> int:
    """Start what the flags ask for and return the exit code."""
    environ = dict(os.environ)
    if flags.replace:
        compose.refuse_inside("take over from a runner")
    if compose.inside_agent(environ):
        # Whatever the enclosing agent was told is not for the one that starts now.
        environ = config.scrub(environ)
        os.environ.clear()
        os.environ.update(environ)
    paths = config.paths(environ)
    request = choices.resolve(flags, paths, environ)
    config.private_dir(paths.state)
    if not request.options.headless:
        return _in_terminal(flags, request, paths)
    _refuse_live(request, paths)
    output.note(choices.describe(request))
    service.become(request)


def _in_terminal(flags: Flags, request: Request, paths: config.Paths) -> int:
    agent_id = request.options.agent_id
    running = None if request.options.replace else local.live(paths, agent_id)
    if running is not None:
        compose.refuse_inside("attach to a terminal")  # nor give that agent a prompt as a person's
        _leave_as_it_is(flags, request, paths, running)
        return viewing.watch(paths, running, None)
    output.note(choices.describe(request))
    report = background.launch(_sized(request), paths)
    viewing.introduce(report.info)
    return viewing.watch(paths, report.info, report)


def _sized(request: Request) -> Request:
    """Return the request for an agent whose terminal is as large as the one that it is started in.

    Its size never changes: in a larger one a person would see a corner, and not what the program asks.
    """
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return request
    if not columns or not rows:
        return request
    size = (max(columns, LEAST_COLUMNS), max(rows - STATUS_ROWS, LEAST_ROWS))
    return replace(request, options=replace(request.options, screen=size))


def _leave_as_it_is(flags: Flags, request: Request, paths: config.Paths, running: RunnerInfo) -> None:
    """Send a live agent the first prompt as a message, and name what was asked for and cannot be given to it."""
    agent_id = running.agent_id
    output.note(f"{agent_id} runs already; this is its terminal")
    ignored = choices.not_applied(flags, choices.last(paths, agent_id), running)
    if ignored:
        output.note(f"not applied to it: {', '.join(ignored)}: `relay-runner stop {agent_id}` first, then start it so")
    if flags.prompt:
        record = loop.run(_send(request, flags.prompt, paths))
        output.note(f"message {record.message.id} to {agent_id}: {verdict.state(record)}")


async def _send(request: Request, prompt: str, paths: config.Paths) -> MessageRecord:
    agent_id = request.options.agent_id
    joined = choices.last(paths, agent_id)
    url = request.relay_url or (joined.relay_url if joined is not None else None)
    access = await compose.access(paths, config.load(paths, None), url=url)
    with compose.token_wanted(access):
        async with compose.relay_at(access) as relay:
            return await relay.send(sending.message(agent_id, prompt))


def _refuse_live(request: Request, paths: config.Paths) -> None:
    agent_id = request.options.agent_id
    if not request.options.replace and local.runner_pid(paths, agent_id) is not None:
        raise ConfigError(
            f"{agent_id} runs already (pid {local.runner_pid(paths, agent_id)})",
            hint="use --replace to take over from it, or another --agent-id",
        )
