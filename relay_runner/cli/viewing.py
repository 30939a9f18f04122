"""Show an agent's terminal to a person, and say what became of it when it is gone from the screen."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relay_runner import config
from relay_runner.cli import local, output
from relay_runner.cli.background import Report
from relay_runner.cli.exits import Exit
from relay_runner.cli.service import Kind, Line
from relay_runner.errors import ConfigError, RelayRunnerError
from relay_runner.protocol.control import RunnerInfo
from relay_runner.terminal import processes, terminfo

DETACH = "Ctrl-] d"
SETTLE_S = 20.0
"""How long a runner may take to say how its program ended."""
REPAIR_S = 10.0
"""How long a runner may take to have its terminal's socket again, twice as often as it looks."""
POLL_S = 0.1
_STDIN = 0
_AS_BEFORE = "\x1b[?1049l\x1b[?25h\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[m"
"""The normal screen and cursor, without bracketed paste, mouse reports and colours."""


def program() -> str:
    """Return the words that run this very program again, from anywhere."""
    used = sys.argv[0]
    found = shutil.which("relay-runner")
    if Path(used).name == "relay-runner" and Path(used).exists():
        return "relay-runner" if found and Path(found).samefile(used) else shlex.quote(str(Path(used).absolute()))
    return f"{shlex.quote(sys.executable)} -m relay_runner"


def introduce(info: RunnerInfo) -> None:
    """Print the exact lines that send to an agent, show it and stop it."""
    ours, agent = program(), info.agent_id
    lines = {
        "send": f'{ours} send {agent} "hello" --wait',
        "attach": f"{ours} attach {agent}" if info.attach else "",
        "detach": DETACH if info.attach else "",
        "logs": f"{ours} logs {agent}",
        "stop": f"{ours} stop {agent}",
    }
    output.say(f"{agent} is up ({info.provider}, pid {info.pid})")
    for word, text in lines.items():
        if text:
            output.say(f"  {word:<7} {text}")


def watch(paths: config.Paths, info: RunnerInfo, report: Report | None) -> int:
    """Attach until the person detaches or the program ends; return the exit code that says which."""
    if not info.attach:
        output.note(f"{info.agent_id} has no terminal that can be shown; it runs in the background")
        return Exit.OK
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("attach needs a terminal", hint=f"see `{program()} logs {info.agent_id}`")
    term = _term()
    while True:
        _reach(paths, info)
        with _terminal_kept():
            environ = {**config.scrub(os.environ), "TERM": term}
            code = subprocess.run(info.attach, env=environ, check=False).returncode
        after = _after(paths, info, report, lost=code != 0)
        if not isinstance(after, RunnerInfo):
            return after
        info = after


def _term() -> str:
    """Return the TERM to attach with, and say so where it is not the person's own."""
    own = os.environ.get("TERM", "")
    term = terminfo.usable(os.environ)
    if term != own:
        why = f"no terminfo entry for TERM={own}" if own else "TERM is not set"
        output.note(f"{why}: using {term}")
    return term


def _reach(paths: config.Paths, info: RunnerInfo) -> None:
    """Return when the terminal's socket is there: one that a cleaner removed is made again by the agent's runner."""
    paths.sockets()
    deadline = time.monotonic() + REPAIR_S
    while info.tmux_socket is not None and not Path(info.tmux_socket).is_socket():
        if time.monotonic() > deadline:
            raise RelayRunnerError(
                f"cannot reach the terminal of {info.agent_id}: its socket {info.tmux_socket} was removed",
                hint=f"run `{program()} restart {info.agent_id}` to give it a new one",
            )
        if local.live(paths, info.agent_id) is None:
            return
        time.sleep(POLL_S)


@contextmanager
def _terminal_kept() -> Iterator[None]:
    """Give the terminal back as it was: a tmux that is killed leaves it raw, and its screen switched."""
    try:
        before = termios.tcgetattr(_STDIN)
    except termios.error:
        before = None  # gone already: there is nothing to give back
    try:
        yield
    finally:
        if before is not None and _settings() not in (None, before):
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)
            sys.stdout.write(_AS_BEFORE)
            sys.stdout.flush()


def _settings() -> list[Any] | None:
    try:
        return termios.tcgetattr(_STDIN)
    except termios.error:
        return None


def _after(paths: config.Paths, info: RunnerInfo, report: Report | None, *, lost: bool) -> int | RunnerInfo:
    """Say what became of the terminal; return the exit code, or where to attach again after a restart."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        now = local.live(paths, info.agent_id)
        if now is None:
            return _ended(info, report)
        alive = now.provider_pid is not None and processes.identity(now.provider_pid) is not None
        if alive and now.provider_pid != info.provider_pid and (now.attach or not info.attach):
            output.note(f"{info.agent_id} was restarted")
            return now
        if alive and not lost:
            output.say(f"{info.agent_id} goes on in the background; `{program()} stop {info.agent_id}` ends it")
            return Exit.OK
        time.sleep(POLL_S)
    raise RelayRunnerError(
        f"the terminal of {info.agent_id} is gone, and its runner does not say why",
        hint=f"see `{program()} logs {info.agent_id}`",
    )


def _ended(info: RunnerInfo, report: Report | None) -> int:
    """Say how the program ended, as far as the runner told us."""
    line = _last_word(report) if report is not None else None
    if line is None:
        output.say(f"{info.agent_id} ended; `{program()} logs {info.agent_id}` tells more")
        return Exit.OK
    reason = output.line(line.text, 1000)
    if line.exit == Exit.OK:
        output.say(f"{info.agent_id} ended: {reason}")
    else:
        output.note(f"{info.agent_id} ended: {reason}")
    return line.exit


def _last_word(report: Report) -> Line | None:
    while (line := report.next(SETTLE_S)) is not None:
        if line.kind in (Kind.EXIT, Kind.ERROR):
            return line
    return None
