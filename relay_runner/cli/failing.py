"""The one place where an error becomes a line and an exit code, for the command line and for a runner's own process."""

from __future__ import annotations

import os
from collections.abc import Callable

from relay_runner import pipes
from relay_runner.cli import exits
from relay_runner.errors import RelayRunnerError

DEBUG_VARIABLE = "RELAY_RUNNER_DEBUG"


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
        if pipes.is_gone(_first(raised)) and pipes.hang_up():
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
    except OSError as gone:
        if not (pipes.is_gone(gone) and pipes.hang_up()):
            raise
