"""What process 1 of a container has to do: reap what others leave behind, and pass signals on.

In a container without an init of its own the program that it runs is process 1, to which the kernel gives every orphan:
tmux servers, relays, what an agent's commands leave. Those that end stay zombies unless process 1 waits for them, and
one that waits for any child would take from this program's own libraries the exit codes that they wait for. So the work
is done by a child, and process 1 does this and nothing else. It forks before anything large is imported.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

PASSED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
)
_STDIN = 0
SIGNALLED = 128


def needed() -> bool:
    """Say whether this is process 1."""
    return os.getpid() == 1


def run(work: Callable[[], int]) -> int:
    """Do `work` in a child and reap everything until it ends; return its exit code, 128 + n for a signal.

    Returns in the child, too, with what `work` returns.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # none of them may come before the child can have it
    child = os.fork()
    if child == 0:
        _lead()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return work()

    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return _reap(child)


def _lead() -> None:
    """Have a process group of our own, in the foreground of the terminal: else Ctrl-C would come a second time."""
    os.setpgid(0, 0)
    ignored = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with suppress(OSError):  # no terminal
        os.tcsetpgrp(_STDIN, os.getpgrp())
    signal.signal(signal.SIGTTOU, ignored)


def _reap(child: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else SIGNALLED - code
