"""Writing to a pipe or a terminal whose other end may go: nothing is wrong then, and nothing more can be said there.

A reader that went away (`| head`, a starter that died, a terminal that was closed) must neither end what goes on, nor
spoil its exit code: the interpreter complains at its end, with 120, of what is still buffered.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import sys

SPEECH = (1, 2)
"""Stdout and stderr, by number: what stands in `sys.stdout` may be something else."""


def hang_up() -> bool:
    """Say whether a reader of ours went away; what is still buffered for it, and what comes, goes nowhere.

    A pipe that broke elsewhere (to a program that we started) is an error like any other.
    """
    poller = select.poll()
    for descriptor in SPEECH:
        poller.register(descriptor, 0)
    gone = [number for number, event in poller.poll(0) if event & (select.POLLERR | select.POLLHUP)]
    for descriptor in gone:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    return bool(gone)


def is_gone(error: BaseException) -> bool:
    """Say whether an error may be that of a pipe without a reader, or of a terminal that was closed."""
    return isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.EIO)


def write(descriptor: int, data: bytes) -> bool:
    """Write a few bytes at once; return False where nobody reads them."""
    try:
        return os.write(descriptor, data) == len(data)
    except OSError:
        return False


class Heard(logging.StreamHandler):  # type: ignore[type-arg]
    """Logs to stderr for as long as that is read."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Stop where nobody reads; what else is wrong with a record is told as ever."""
        error = sys.exc_info()[1]
        if error is None or not (is_gone(error) and hang_up()):
            super().handleError(record)
