"""The one place where an error becomes a line and an exit code, for the command line and for a runner's own process."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from relay_runner.cli import exits
from relay_runner.errors import RelayRunnerError

DEBUG_VARIABLE = "RELAY_RUNNER_DEBUG"
_SPEECH = (1, 2)
"""Stdout and stderr, by number: what stands in `sys.stdout` may be something else."""


def guarded(
    work: Callable[[], int],
    *,
    as_json: bool = False,
    debug: bool = False,
    also: Callable[[RelayRunnerError], None] = lambda error: None,
) -> int:
    """Return the exit code of `work`; errors are printed (and told to `also`), none escapes."""
    try:
        return work()
    except KeyboardInterrupt:
        return exits.INTERRUPTED_BY_PERSON
    except Exception as raised:
        if isinstance(_first(raised), BrokenPipeError) and _hang_up():
            return int(exits.Exit.OK)
        error = ours(raised)
        also(error)
        _tell(error, as_json=as_json, debug=debug or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"))
        return int(exits.of_error(error))


def ours(raised: Exception) -> RelayRunnerError:
    """Return what was raised as an error of ours; what nobody foresaw is told as the bug it is.

    Of a group that is the first of our own errors, or else the first of all.
    """
    found = _first(raised)
    if isinstance(found, RelayRunnerError):
        return found
    if isinstance(found, OSError):
        what = f"cannot use {found.filename}" if found.filename else "the system says no"
        error = RelayRunnerError(f"{what}: {found.strerror or found}", hint="--debug tells more")
    else:
        what = f"a bug of ours: {type(found).__name__}: {found}"
        error = RelayRunnerError(what, hint="please report it with what --debug shows")
    error.__cause__ = raised
    return error


def _first(raised: Exception) -> Exception:
    while isinstance(raised, ExceptionGroup):
        raised = (raised.subgroup(RelayRunnerError) or raised).exceptions[0]
    return raised


def _tell(error: RelayRunnerError, *, as_json: bool, debug: bool) -> None:
    from relay_runner.cli import output

    try:
        output.fail(error, as_json=as_json, debug=debug)
    except BrokenPipeError:
        _hang_up()


def _hang_up() -> bool:
    """Say whether a reader of ours went away (`| head`): nothing is wrong then, and nothing more can be said.

    What is still buffered goes nowhere, so that the interpreter does not complain of it at its end. A pipe that broke
    elsewhere (to a program that we started) is an error like any other.
    """
    poller = select.poll()
    for descriptor in _SPEECH:
        poller.register(descriptor, 0)
    unread = [descriptor for descriptor, event in poller.poll(0) if event & (select.POLLERR | select.POLLHUP)]
    for descriptor in unread:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    return bool(unread)
