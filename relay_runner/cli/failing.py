"""The one place where an error becomes a line and an exit code, for the command line and for a runner's own process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from relay_runner.cli import exits
from relay_runner.errors import RelayRunnerError

DEBUG_VARIABLE = "RELAY_RUNNER_DEBUG"


def guarded(work: Callable[[], int], *, as_json: bool = False, debug: bool = False) -> int:
    """Return the exit code of `work`; errors are printed, none escapes."""
    debug = debug or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    try:
        with _foreign_errors():
            return work()
    except BrokenPipeError:
        # The reader of our stdout went away (`| head`): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(exits.Exit.OK)
    except KeyboardInterrupt:
        return exits.INTERRUPTED_BY_PERSON
    except (RelayRunnerError, ExceptionGroup) as raised:
        from relay_runner.cli import output

        error = _first(raised)
        output.fail(error, as_json=as_json, debug=debug)
        return int(exits.of_error(error))


@contextmanager
def _foreign_errors() -> Iterator[None]:
    """Map what the system raises to our own errors; what nobody foresaw is told as the bug it is."""
    try:
        yield
    except (RelayRunnerError, ExceptionGroup, BrokenPipeError):
        raise
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise RelayRunnerError(f"cannot use{where}: {error.strerror or error}", hint="--debug tells more") from error
    except Exception as error:
        what = f"a bug of ours: {type(error).__name__}: {error}"
        raise RelayRunnerError(what, hint="please report it with what --debug shows") from error


def _first(raised: Exception) -> RelayRunnerError:
    """Return the first of our own errors in a group; a group without one is a bug and goes up as it is."""
    if isinstance(raised, RelayRunnerError):
        return raised
    if isinstance(raised, ExceptionGroup) and (mine := raised.subgroup(RelayRunnerError)) is not None:
        return _first(mine.exceptions[0])
    raise raised
