"""What the exit codes mean; README and `--help` say the same."""

from __future__ import annotations

from enum import IntEnum

from relay_runner.errors import ConfigError, RelayRunnerError

INTERRUPTED_BY_PERSON = 130
"""What a shell shows for a program that ended by Ctrl-C."""


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
  5  interrupted
"""


def of_error(error: RelayRunnerError) -> Exit:
    """Return the exit code that an error ends a command with."""
    return Exit.USAGE if isinstance(error, ConfigError) else Exit.FAILED
