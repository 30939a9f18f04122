"""What `start --headless` says on stdout to the one who spawned it: one JSON line, and then nothing more.

The line says that the agent takes messages, or why it never will: `{"agentId": ..., "runnerId": ..., ...}` or
`{"error": {"code", "message", "hint"}}`. Everything else, from the first word on, is on stderr. Stdout is closed behind
the line, so that a spawner may as well read to its end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from relay_runner.errors import RelayRunnerError

STDIO = 3
"""The descriptors below this are stdin, stdout and stderr."""


class Answer:
    """The one line; what comes after it is left unsaid."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def on_stdout(cls) -> Answer:
        """Take stdout for the line; whatever else this process, or one that it starts, says there goes to stderr."""
        answer = cls(os.dup(1))  # not inherited: nobody else holds the spawner's pipe open
        os.dup2(2, 1)
        return answer

    def give(self, value: Any) -> None:
        """Write the line, unless there was one."""
        import json

        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with suppress(OSError), os.fdopen(descriptor, "wb") as file:  # a spawner that hung up does not want to know
            file.write(json.dumps(value, ensure_ascii=True).encode() + b"\n")

    def fail(self, error: RelayRunnerError) -> None:
        """Say that it cannot start."""
        self.give({"error": {"code": error.code, "message": error.message, "hint": error.hint}})


def close_inherited(*kept: int) -> None:
    """Close what the spawner left open by accident: it would stay open for as long as the agent lives."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not files
        descriptor = int(name)
        if descriptor >= STDIO and descriptor not in kept:
            with suppress(OSError):
                os.close(descriptor)


def is_headless_start(words: Sequence[str]) -> bool:
    """Say whether a command line, without what follows `--`, is a start that a spawner reads the answer of."""
    if words[:1] != ["start"] or "--help" in words or "-h" in words:
        return False
    return "--headless" in words or not (sys.stdin.isatty() and sys.stdout.isatty())


def tell_error(error: RelayRunnerError) -> None:
    """Say on stdout what kept an agent from starting before it had a process of its own."""
    sys.stdout.flush()
    with suppress(OSError):
        Answer(os.dup(1)).fail(error)
