"""What this machine's files and processes say of the agents that run on it, with or without a relay.

A runner lives while it holds its agent's lock, which the kernel takes from it when it dies: no pid is ever believed
without it.
"""

from __future__ import annotations

import os
import shutil
import signal
import time

from relay_runner.config import Paths
from relay_runner.errors import ConfigError, ProtocolError, RelayRunnerError
from relay_runner.protocol.addresses import check_agent_id
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.wire import decode
from relay_runner.runner import record
from relay_runner.runner.lock import holder
from relay_runner.runner.record import ProcessRecord
from relay_runner.terminal import processes

POLL_S = 0.05
LEAST_ROOM = 64 * 1024


def has_room(paths: Paths) -> bool:
    """Say whether the disk of the state folder takes anything."""
    try:
        return shutil.disk_usage(paths.state).free >= LEAST_ROOM
    except OSError:
        return True


def info(paths: Paths, agent_id: str) -> RunnerInfo | None:
    """Return what the agent's last runner wrote of itself, or None where there is nothing readable."""
    try:
        return decode(paths.agent(agent_id).info.read_bytes(), RunnerInfo)
    except (OSError, ProtocolError):
        return None


def runner_pid(paths: Paths, agent_id: str) -> int | None:
    """Return the pid of the agent's live runner, also of one that has not said anything of itself yet."""
    return holder(paths.agent(agent_id).lock)


def live(paths: Paths, agent_id: str) -> RunnerInfo | None:
    """Return the agent's runner if it runs now and has told where it is."""
    found = info(paths, agent_id)
    return found if found is not None and runner_pid(paths, agent_id) == found.pid else None


def all_live(paths: Paths) -> dict[str, RunnerInfo]:
    """Return the running runners of this machine by agent id."""
    found = ((agent_id, live(paths, agent_id)) for agent_id in known(paths))
    return {agent_id: runner for agent_id, runner in found if runner is not None}


def known(paths: Paths) -> list[str]:
    """Return the ids of the agents that have files here."""
    return sorted(folder.name for folder in paths.agents.iterdir() if folder.is_dir()) if paths.agents.is_dir() else []


def require_known(paths: Paths, agent_id: str) -> str:
    """Return `agent_id`; raise `ConfigError` with the nearest id where no agent of that name ever ran here."""
    ids = known(paths)
    if check_agent_id(agent_id) in ids:
        return agent_id
    from difflib import get_close_matches

    near = get_close_matches(agent_id, ids, 1)
    hint = f"did you mean {near[0]}" if near else "`relay-runner ps` lists the agents"
    raise ConfigError(f"no agent {agent_id} ran on this machine", hint=hint)


def require_live(paths: Paths, agent_id: str) -> RunnerInfo:
    """Return the agent's runner; raise `ConfigError` where it does not run."""
    runner = live(paths, require_known(paths, agent_id))
    if runner is None:
        raise ConfigError(f"{agent_id} does not run", hint=how_to_start(agent_id))
    return runner


def how_to_start(agent_id: str) -> str:
    """Return what a person can do about an agent that does not run."""
    return f"`relay-runner start --agent-id {agent_id}` starts it"


def left_behind(paths: Paths, agent_id: str) -> ProcessRecord | None:
    """Return the agent's program where it runs although its runner does not."""
    if runner_pid(paths, agent_id) is not None:
        return None
    try:
        saved = record.load(paths.agent(agent_id).process)
    except RelayRunnerError:
        return None
    return saved if saved is not None and processes.runs(saved.terminal.process) else None


def enclosing(paths: Paths) -> str | None:
    """Return the agent whose program started this command, however it did; None where a person did.

    A command that left its program's environment behind is known by its parents, and by its session.
    """
    above = processes.lineage(os.getpid())
    try:
        ids = known(paths)
    except OSError:
        return None  # hidden by a sandbox: it has nothing of ours to speak with
    for agent_id in ids:
        try:
            saved = record.load(paths.agent(agent_id).process)
        except RelayRunnerError:
            continue
        if saved is not None and above & {saved.terminal.process, saved.terminal.pane_process}:
            return agent_id
    return None


def all_left_behind(paths: Paths) -> dict[str, ProcessRecord]:
    """Return the programs of this machine whose runner died, by agent id."""
    found = ((agent_id, left_behind(paths, agent_id)) for agent_id in known(paths))
    return {agent_id: saved for agent_id, saved in found if saved is not None}


def signal_runner(paths: Paths, agent_id: str, pid: int, number: signal.Signals) -> None:
    """Send a signal to the agent's runner, if it is still that process."""
    process = processes.identity(pid)
    # Who held the lock after the process was identified is that process: the signal cannot meet a stranger.
    if process is not None and runner_pid(paths, agent_id) == pid:
        processes.send(process, number)


def wait_gone(paths: Paths, agent_id: str, pid: int, timeout_s: float) -> bool:
    """Return True when the agent's runner, the process `pid`, ended in time."""
    deadline = time.monotonic() + timeout_s
    while runner_pid(paths, agent_id) == pid:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
