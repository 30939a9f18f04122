"""Run one runner in this process: relay, token, provider and terminals put together, signals heard."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from relay_runner import config
from relay_runner.cli import choices, compose, local, output, versions
from relay_runner.cli.agent_token import AgentToken
from relay_runner.cli.choices import Request
from relay_runner.errors import RelayRunnerError
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.messages import MessageRecord, NewMessage
from relay_runner.runner.group import task_group
from relay_runner.runner.options import RunnerExit

if TYPE_CHECKING:
    from relay_runner.runner.prompt import Say
    from relay_runner.runner.runner import Runner

log = logging.getLogger(__name__)

RETRY_S = 2.0
HAND_OVER_S = 10.0
Tell = Callable[[str], None]
Opened = Callable[[RunnerInfo], None]


async def run(
    request: Request,
    paths: config.Paths,
    *,
    tell: Tell = output.note,
    on_open: Opened | None = None,
    on_ready: Opened | None = None,
) -> RunnerExit:
    """Run the agent until it ends; `tell` takes what a person should know before there is a log to read."""
    from relay_runner.runner.runner import Runner

    options = request.options
    provider = compose.provider(options.provider)
    terminals, odd = compose.terminals(paths, tmux=request.tmux)
    if odd:
        tell(odd)
    token = AgentToken(request, paths)
    async with task_group() as group:  # the one who waits for the relay may as well ask the program
        asked = group.create_task(versions.beyond(provider, options.command))
        access, grant = await token.first(tell)
    if (beyond := asked.result()) is not None:
        tell(f"{beyond}: see `relay-runner doctor`")
    if options.replace:  # only now: who cannot start takes nothing away from the one that runs
        await _replace(paths, options.agent_id, tell)
    left = local.left_behind(paths, options.agent_id)

    def opened(info: RunnerInfo) -> None:
        choices.remember(request, paths)
        if left is not None and info.provider_pid == left.terminal.process.pid:
            tell(f"adopted the running program (pid {info.provider_pid})")
        if on_open is not None:
            on_open(info)

    relay = compose.relay_at(access)
    relay.use_token(grant.token)
    runner = Runner(
        options,
        relay=relay,
        provider=provider,
        terminals=terminals,
        paths=paths,
        grant=grant,
        reissue=token.another,
        on_token=token.keep,
        say=speaker(access, options.agent_id),
        tell=tell,
        on_open=opened,
        on_ready=on_ready or _not_told,
        hidden=config.hidden(paths, config.load(paths, options.cwd).relay_token_file, os.environ),
    )
    with _signals(runner):
        return await runner.run()


def _not_told(info: RunnerInfo) -> None:
    return None


def speaker(access: compose.RelayAccess, agent_id: str) -> Say | None:
    """Return what posts a message as the person who starts the agent; None where the token is the agent's own."""
    if compose.me(access) == agent_principal(agent_id):
        return None

    async def say(new: NewMessage) -> MessageRecord:
        async with compose.relay_at(access) as relay:
            return await relay.send(new)

    return say


async def _replace(paths: config.Paths, agent_id: str, tell: Tell) -> None:
    """Make a live runner hand its provider over; one that does not answer is killed, its provider is not."""
    pid = local.runner_pid(paths, agent_id)
    if pid is None:
        return
    tell(f"taking over from the runner with pid {pid}")
    for number in (signal.SIGUSR1, signal.SIGKILL):
        local.signal_runner(paths, agent_id, pid, number)
        if await asyncio.to_thread(local.wait_gone, paths, agent_id, pid, HAND_OVER_S):
            return
    raise RelayRunnerError(f"the runner with pid {pid} does not end", hint="look at it with ps, or reboot")


@contextmanager
def _signals(runner: Runner) -> Iterator[None]:
    """SIGTERM, SIGINT and SIGHUP end the agent in order, a second one at once; SIGUSR1 leaves the provider running."""
    loop = asyncio.get_running_loop()
    heard: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        runner.stop(number.name, now=bool(heard))
        heard.append(number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, end, number)
    loop.add_signal_handler(signal.SIGUSR1, runner.hand_over, "replaced by another runner")
    try:
        yield
    finally:
        for number in (*numbers, signal.SIGUSR1):
            loop.remove_signal_handler(number)
