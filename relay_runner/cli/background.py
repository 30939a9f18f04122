"""A runner that outlives the terminal it was started from, and what it tells the one who started it.

The request goes to the new process by stdin (prompts may be long, or secret). What becomes of it comes back by a
pipe, one JSON object per line, for as long as somebody reads it.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from contextlib import suppress

from relay_runner import config
from relay_runner.cli import choices, exits, output, service
from relay_runner.cli.choices import Request
from relay_runner.cli.service import Kind, Line
from relay_runner.errors import ConfigError, RelayRunnerError
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.wire import decode

PATIENCE_S = 10.0
"""After this long without a word, the person is told that it goes on."""

END_S = 30.0
"""How long a runner that could not start may take to end."""


class Report:
    """What a background runner tells, as the one who started it reads it."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self._process = process
        self._descriptor = descriptor
        self._rest = b""
        self._info: RunnerInfo | None = None

    @property
    def info(self) -> RunnerInfo:
        """What the runner told of itself when the terminal opened."""
        assert self._info is not None
        return self._info

    def wait_open(self, agent_id: str) -> None:
        """Return when the program's terminal is there; raise what kept it from coming."""
        while True:
            line = self.next(PATIENCE_S)
            if line is None:
                output.note("still starting; Ctrl-C gives up")
            elif line.kind is Kind.NOTE:
                output.note(line.text)
            elif line.kind is Kind.OPEN:
                self._info = line.info
                return
            elif line.kind is Kind.EXIT:
                raise _error(line.text, line.exit, f"see `{output.PROGRAM} logs {agent_id}`", "provider-exited")
            else:
                raise _error(line.text, line.exit, line.hint, line.code)

    def next(self, timeout_s: float) -> Line | None:
        """Return the next line, or None when there is none in time; a runner that died silently is an error line."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            readable, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                return None
            data = os.read(self._descriptor, 65536)
            if not data:
                code = self._process.wait()
                if code < 0:
                    return Line(kind=Kind.ERROR, text=f"its runner was killed (signal {-code})", exit=1, code="killed")
                return Line(
                    kind=Kind.ERROR,
                    text=f"the runner ended without a word (exit code {code})",
                    exit=1,
                    hint="see its log",
                    code="runner-died",
                )
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\n")
        return decode(text, Line)

    def give_up(self) -> None:
        """End the runner that was being started, if it has not ended by itself."""
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._descriptor)

    def interrupt(self) -> None:
        """Ask the runner to end in order."""
        self._process.terminate()


def launch(request: Request, paths: config.Paths) -> Report:
    """Start a runner that outlives this process, and return when its program's terminal is there."""
    folder = paths.agent(request.options.agent_id)
    for path in (paths.state, paths.agents, folder.root):
        config.private_dir(path)
    reading, writing = os.pipe()
    if folder.log.is_symlink():  # to the stderr of an earlier life
        folder.log.unlink()
    with folder.log.open("ab") as log:
        folder.log.chmod(0o600)
        process = subprocess.Popen(
            [*service.PROGRAM, service.BACKGROUND, str(writing), request.options.agent_id],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[writing],
            start_new_session=True,
            cwd=request.options.cwd,
        )
    os.close(writing)
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:  # one that died before it read this is told by its report
        process.stdin.write(choices.encode(request))
    report = Report(process, reading)
    try:
        report.wait_open(request.options.agent_id)
    except KeyboardInterrupt:
        report.interrupt()
        report.give_up()
        raise
    except RelayRunnerError:
        report.give_up()
        raise
    return report


def _error(text: str, exit_code: int, hint: str | None, code: str) -> RelayRunnerError:
    error = (ConfigError if exit_code == exits.Exit.USAGE else RelayRunnerError)(text, hint=hint)
    error.code = code or error.code
    return error
