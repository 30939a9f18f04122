"""The process that a runner lives in: the same for a terminal's background and for a service's foreground.

    python -P -m relay_runner.cli.service background FD AGENT    the request comes by stdin, the report goes to FD
    python -P -m relay_runner.cli.service foreground FD AGENT    the request is in FD, what happens is logged to stderr

It never imports typer: what parses a command line once would stay in memory for as long as the agent lives (14 MiB of
52, measured). AGENT is only for people who look at a list of processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from enum import StrEnum
from typing import NoReturn

from relay_runner import config, log, pipes
from relay_runner.cli import choices, exits, foreground, output, spawned
from relay_runner.cli.choices import Request
from relay_runner.cli.failing import guarded, ours
from relay_runner.cli.spawned import Answer
from relay_runner.errors import RelayRunnerError
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.wire import Wire, encode
from relay_runner.runner.options import RunnerExit

# -P: a folder called relay_runner where the agent works must not be taken for the program.
PROGRAM = (sys.executable, "-X", "utf8", "-P", "-m", "relay_runner.cli.service")
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


def in_foreground(descriptor: int, answer: Answer | None = None) -> int:
    """Run the runner that `descriptor` asks for, and tell on stderr; `answer` is told the first news, good or bad."""
    with os.fdopen(descriptor, "rb") as file:
        request = choices.decode(file.read())
    paths = config.paths()
    log.setup(paths.agent(request.options.agent_id).log)
    try:
        ended = asyncio.run(
            foreground.run(request, paths, tell=_note, on_ready=lambda info: _answer(answer, request, info))
        )
    except Exception as raised:
        if answer is not None:
            answer.fail(ours(raised))
        raise
    if answer is not None:
        answer.fail(_never_ready(ended))
    _note(f"{request.options.agent_id} ended: {output.line(ended.reason, 1000)}")
    return ended.code


def _note(text: str) -> None:
    """Tell on stderr; that nobody reads it any more is no reason to end, or to end otherwise."""
    try:
        output.note(text)
    except OSError as error:
        if not (pipes.is_gone(error) and pipes.hang_up()):
            raise


def _answer(answer: Answer | None, request: Request, info: RunnerInfo) -> None:
    """Tell a spawner that the agent takes messages."""
    if answer is None:
        return
    options = request.options
    file = options.info_file or config.paths().agent(options.agent_id).info
    asked = {
        "infoFile": str(file),
        "spawnRequestId": options.spawn_request_id,
        "automationId": options.automation_id,
        "automationRunId": options.automation_run_id,
    }
    answer.give({**json.loads(encode(info)), **asked})


def _never_ready(ended: RunnerExit) -> RelayRunnerError:
    error = RelayRunnerError(ended.reason)
    error.code = "ended"
    return error


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
    pipes.write(descriptor, encode(line) + b"\n")  # or nobody reads: the person detached, the terminal is gone


def main() -> None:
    """Run the runner that the words ask for, and leave with its exit code."""
    mode, number, *_ = sys.argv[1:]
    descriptor = int(number)
    spawned.close_inherited(descriptor)
    if mode == BACKGROUND:
        sys.exit(guarded(lambda: in_background(descriptor)))
    answer = Answer.on_stdout()
    sys.exit(guarded(lambda: in_foreground(descriptor, answer)))


if __name__ == "__main__":
    main()
