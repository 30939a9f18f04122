"""Everything that can go wrong, ordered by what the caller does next.

    RelayRunnerError
    ├── ConfigError            a person must change a flag, a file or an id (exit 2)
    ├── RelayUnavailable       ask again later                               (retryable)
    ├── RelayRefused           the relay said no, and will say no again
    │   ├── RelayUnauthorized      the token is wrong, expired or revoked
    │   └── RelayNotFound          there is no such message, agent or command
    ├── ProtocolError          the other side sent what the protocol does not allow
    ├── ClaimLost              somebody else holds the claim now: stop the work
    ├── ProviderError
    │   ├── ProviderNotFound       the program is not installed
    │   ├── ProviderNotReady       the program runs or could run, but wants a person first
    │   ├── ProviderExited         the program ended
    │   ├── ProviderRefused        the program did not take what we gave; nothing entered it
    │   ├── ProviderUnsupported    this provider cannot do that
    │   └── AgentAttended          a person looks at it just now: only by force
    ├── TerminalError          tmux or the pty failed
    └── StoreError             a database could not be read or written

"Taken by another" is a result, not an error; "could not ask" is an error, not a result.
A message is one line for a person: what happened, and what to do.
"""

from __future__ import annotations


class RelayRunnerError(Exception):
    """The root of all errors that this package raises on purpose.

    ``hint`` is what a person can do about it, a sentence without the final full stop, or None.
    """

    retryable = False
    code = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class ConfigError(RelayRunnerError):
    """A flag, a file or an id is wrong; nothing was started."""

    code = "usage"


class RelayUnavailable(RelayRunnerError):
    """The relay could not be asked: nothing is known about what it would have said."""

    retryable = True
    code = "relay-unavailable"


class RelayRefused(RelayRunnerError):
    """The relay understood and said no; asking again changes nothing."""

    code = "refused"

    def __init__(self, message: str, *, hint: str | None = None, status: int = 400, code: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        if code is not None:
            self.code = code


class RelayUnauthorized(RelayRefused):
    """The token is missing, wrong, expired or revoked."""

    def __init__(self, message: str, *, hint: str | None = None, status: int = 401, code: str = "unauthorized") -> None:
        super().__init__(message, hint=hint, status=status, code=code)


class RelayNotFound(RelayRefused):
    """The relay knows no such thing; the hint names the nearest one where there is one."""

    def __init__(self, message: str, *, hint: str | None = None, status: int = 404, code: str = "not-found") -> None:
        super().__init__(message, hint=hint, status=status, code=code)


class ProtocolError(RelayRunnerError):
    """Bytes arrived that the protocol does not allow."""

    code = "protocol"


class ClaimLost(RelayRunnerError):
    """The claim ran out, was released, or belongs to a newer instance: stop the work and report nothing more."""

    code = "claim-lost"


class ProviderError(RelayRunnerError):
    """The provider program, or what we ask of it."""

    code = "provider"


class ProviderNotFound(ProviderError):
    """The program is not installed; the hint is the line that installs it."""

    code = "provider-not-found"


class ProviderNotReady(ProviderError):
    """The program wants a person first: a log-in, a trust question, a first-run dialog."""

    code = "provider-not-ready"


class ProviderExited(ProviderError):
    """The program ended.

    ``exit_code`` is what it returned, or minus the signal's number, or None where nobody could know.
    ``tail`` is the redacted end of what it last showed.
    """

    code = "provider-exited"

    def __init__(self, message: str, *, exit_code: int | None = None, tail: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
        self.tail = tail


class ProviderRefused(ProviderError):
    """What we submitted provably did not enter the program; it may be submitted again."""

    retryable = True
    code = "provider-refused"


class ProviderUnsupported(ProviderError):
    """This provider, or this version of it, cannot do that."""

    code = "unsupported"


class AgentAttended(ProviderError):
    """A person looks at the agent just now, and what was ordered would take it from under their hands."""

    code = "attended"


class TerminalError(RelayRunnerError):
    """The terminal that the provider draws on failed, or is gone."""

    code = "terminal"


class StoreError(RelayRunnerError):
    """A database could not be opened, read or written."""

    code = "store"


def unwrap(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of ours when a TaskGroup ended by nothing else, or the group itself.

    For `except BaseExceptionGroup as group: raise unwrap(group) from None`: what is raised inside an `except*` clause
    would only be wrapped into another group.
    """
    ours, foreign = group.split(RelayRunnerError)
    if ours is None or foreign is not None:
        return group
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
