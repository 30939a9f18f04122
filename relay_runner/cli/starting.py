"""The three ways of `start`: attach to a live agent, run in the foreground, or leave a runner in the background."""

from __future__ import annotations

import os

from relay_runner import config
from relay_runner.cli import background, choices, compose, local, output, service, viewing
from relay_runner.cli.choices import Flags, Request
from relay_runner.errors import ConfigError


def start(flags: Flags) -> int:
    """Start what the flags ask for and return the exit code."""
    environ = dict(os.environ)
    if compose.inside_agent(environ):
        # Whatever the enclosing agent was told is not for the one that starts now.
        environ = config.scrub(environ)
        os.environ.clear()
        os.environ.update(environ)
    paths = config.paths(environ)
    request = choices.resolve(flags, paths, environ)
    config.private_dir(paths.state)
    if not request.options.headless:
        return _in_terminal(request, paths)
    _refuse_live(request, paths)
    output.note(choices.describe(request))
    service.become(request)


def _in_terminal(request: Request, paths: config.Paths) -> int:
    agent_id = request.options.agent_id
    running = None if request.options.replace else local.live(paths, agent_id)
    if running is not None:
        output.note(f"{agent_id} runs already; this is its terminal")
        return viewing.watch(paths, running, None)
    output.note(choices.describe(request))
    report = background.launch(request, paths)
    viewing.introduce(report.info)
    return viewing.watch(paths, report.info, report)


def _refuse_live(request: Request, paths: config.Paths) -> None:
    agent_id = request.options.agent_id
    if not request.options.replace and local.runner_pid(paths, agent_id) is not None:
        raise ConfigError(
            f"{agent_id} runs already (pid {local.runner_pid(paths, agent_id)})",
            hint="use --replace to take over from it, or another --agent-id",
        )
