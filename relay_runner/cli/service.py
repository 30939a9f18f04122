"""The process that a runner lives in: the same for a terminal's background and for a service's foreground.

    python -P -m relay_runner.cli.service background FD AGENT    the request comes by stdin, the report goes to FD
    python -P -m relay_runner.cli.service foreground FD AGENT    the request is in FD, what happens is logged to stderr

It never imports typer: what parses a command line once would stay in memory for as long as the agent lives (14 MiB of
52, measured). AGENT is only for people who look at a list of processes.
"""

from __future__ import annotations

import asyncio
import os
import sys
from enum import StrEnum
from typing import NoReturn

from relay_runner import config, log
from relay_runner.cli import choices, exits, foreground, output
from relay_runner.cli.choices import Request
from relay_runner.cli.failing import guarded, ours
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.wire import Wire, encode

# -P: a folder called relay_runner where the agent works must not be taken for the program.
PROGRAM = (sys.executable, "-P", "-m", "relay_runner.cli.service")
BACKGROUND = "background"
FOREGROUND = "foreground"


class Kind(StrEnum):
    """What a line of the report is about."""

    NOTE = "note"
    OPEN = "open"
    """The program's terminal is there."""
    ERROR = "error"
    EXIT = "exit"


class Line(Wire, frozen=True, kw_only=True):
    """One line of the report."""

    kind: Kind
    text: str = ""
    hint: str | None = None
    code: str = ""
    exit: int = 0
    info: RunnerInfo | None = None


def become(request: Request) -> NoReturn:
    """Turn this process into the runner's, with the same pid and the same stdio."""
    descriptor = os.memfd_create("relay-runner-request", 0)
    os.write(descriptor, choices.encode(request))
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.execv(PROGRAM[0], (*PROGRAM, FOREGROUND, str(descriptor), request.options.agent_id))


def in_foreground(descriptor: int) -> int:
    """Run the runner that `descriptor` asks for, and tell on stderr."""
    with os.fdopen(descriptor, "rb") as file:
        request = choices.decode(file.read())
    paths = config.paths()
    log.setup(paths.agent(request.options.agent_id).log)
    ended = asyncio.run(foreground.run(request, paths))
    output.note(f"{request.options.agent_id} ended: {output.line(ended.reason, 1000)}")
    return ended.code


def in_background(descriptor: int) -> int:
    """Run the runner that stdin asks for and report on `descriptor`."""
    os.set_inheritable(descriptor, False)
    os.set_blocking(descriptor, False)
    try:
        request = choices.decode(sys.stdin.buffer.read())
        paths = config.paths()
        # Our stderr is the log file already: a second way there would write every line twice.
        log.setup(paths.agent(request.options.agent_id).log, stderr=False)
        ended = asyncio.run(
            foreground.run(
                request,
                paths,
                tell=lambda text: _tell(descriptor, Line(kind=Kind.NOTE, text=text)),
                on_open=lambda info: _tell(descriptor, Line(kind=Kind.OPEN, info=info)),
            )
        )
    except Exception as raised:
        error = ours(raised)
        code = exits.of_error(error)
        _tell(descriptor, Line(kind=Kind.ERROR, text=error.message, hint=error.hint, code=error.code, exit=code))
        raise
    _tell(descriptor, Line(kind=Kind.EXIT, text=ended.reason, exit=ended.code))
    return ended.code


def _tell(descriptor: int, line: Line) -> None:
    try:
        os.write(descriptor, encode(line) + b"\n")
    except OSError:
        return  # nobody reads any more: the person detached, or the terminal is gone


def main() -> None:
    """Run the runner that the words ask for, and leave with its exit code."""
    mode, descriptor, *_ = sys.argv[1:]
    work = in_background if mode == BACKGROUND else in_foreground
    sys.exit(guarded(lambda: work(int(descriptor))))


if __name__ == "__main__":
    main()
