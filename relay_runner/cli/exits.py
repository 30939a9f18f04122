"""What the exit codes mean; README and `--help` say the same."""

from __future__ import annotations

from enum import IntEnum

from relay_runner.errors import ConfigError, RelayRefused, RelayRunnerError

INTERRUPTED_BY_PERSON = 130
"""What a shell shows for a program that ended by Ctrl-C."""


UNPROCESSABLE = 422
"""The HTTP status of a call whose arguments cannot be right."""

NOBODY = frozenset({"not-found", "nobody"})
"""The codes of a relay that knows nothing by that id or address."""


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TIMED_OUT = 3
    UNKNOWN = 4
    INTERRUPTED = 5


EPILOG = """\
\b
Exit codes:
  0  done (or submitted, where the provider cannot prove more)
  1  failed, dead or refused
  2  wrong usage: a flag, a file or an id must change
  3  timed out, with the receipt that was reached
  4  unknown: it may or may not have gone in; see `relay-runner dead`
  5  interrupted; 130 by Ctrl-C
"""


def of_error(error: RelayRunnerError) -> Exit:
    """Return the exit code that an error ends a command with.

    What the relay finds wrong with the words themselves (no such id, an argument that cannot be one) is wrong
    usage too, wherever it was noticed.
    """
    wrong = isinstance(error, RelayRefused) and (error.status == UNPROCESSABLE or error.code in NOBODY)
    return Exit.USAGE if wrong or isinstance(error, ConfigError) else Exit.FAILED
