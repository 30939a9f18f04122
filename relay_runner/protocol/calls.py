"""What the HTTP calls carry where no other word does: small bodies, errors, health, and the embedded relay's file."""

from __future__ import annotations

from relay_runner.errors import (
    ClaimLost,
    ProtocolError,
    RelayNotFound,
    RelayRefused,
    RelayRunnerError,
    RelayUnauthorized,
)
from relay_runner.protocol.agents import Agent, Status
from relay_runner.protocol.commands import Command
from relay_runner.protocol.messages import MessageRecord
from relay_runner.protocol.wire import Wire

API = "/api/v1"
BUS = f"{API}/bus"


class StatusUpdate(Wire, frozen=True, kw_only=True):
    """What is put to `/agents/{id}/status`."""

    instance_id: str
    status: Status


class ReadyUpdate(Wire, frozen=True, kw_only=True):
    """What is put to `/agents/{id}/ready`."""

    instance_id: str
    ready: bool


class Beat(Wire, frozen=True, kw_only=True):
    """What is posted to `/agents/{id}/heartbeat`."""

    instance_id: str


class Redelivery(Wire, frozen=True, kw_only=True):
    """What is posted to `/messages/{id}/redeliver`; without an agent it means all that ended badly."""

    agent_id: str | None = None


class Dropping(Wire, frozen=True, kw_only=True):
    """What is posted to `/messages/{id}/drop`; without an agent it means every queued or unknown delivery."""

    agent_id: str | None = None


class Renewal(Wire, frozen=True, kw_only=True):
    """The answer to a renewed claim."""

    claim_expires_at: float


class MessageList(Wire, frozen=True, kw_only=True):
    """The answer to `GET /messages`."""

    messages: tuple[MessageRecord, ...]


class AgentList(Wire, frozen=True, kw_only=True):
    """The answer to `GET /agents`."""

    agents: tuple[Agent, ...]


class CommandList(Wire, frozen=True, kw_only=True):
    """The answer to `GET /commands`."""

    commands: tuple[Command, ...]


class Problem(Wire, frozen=True, kw_only=True):
    """Why a call was refused, for a person (`message`, `hint`) and for a program (`code`)."""

    code: str
    message: str
    hint: str | None = None


class ProblemBody(Wire, frozen=True, kw_only=True):
    """The body of every answer that is not 2xx."""

    error: Problem


class Health(Wire, frozen=True, kw_only=True):
    """The answer to `/healthz`."""

    status: str
    version: str
    protocol: int
    relay_id: str
    """One relay store; tells this relay from another one that got its port."""
    uptime_s: float
    agents: int
    connected: int
    queued: int


class RelayFile(Wire, frozen=True, kw_only=True):
    """`relay.json`, 0600: where the embedded relay listens, and who it is."""

    url: str
    operator_token: str
    login: str
    relay_id: str
    pid: int
    process_started: int
    """Field 22 of /proc/PID/stat, so that another process with the same pid is not taken for it."""
    version: str
    protocol: int
    started_at: float
    started_by: str
    """`person` (`relay serve`) or `client` (started by itself on first use)."""
    socket: str | None = None
    """A unix socket at which it listens, too: only this user can, while anybody could take the port of a dead relay."""
    stopped: bool = False
    """Stopped on purpose: clients that lose it do not start it again."""


def status_of(error: RelayRunnerError) -> int:
    """Return the HTTP status that says this error."""
    if isinstance(error, RelayRefused):
        return error.status
    if isinstance(error, ClaimLost):
        return 409
    return 422 if isinstance(error, ProtocolError) else 503


def problem_of(error: RelayRunnerError) -> ProblemBody:
    """Return an error as the body of an answer."""
    return ProblemBody(error=Problem(code=error.code, message=error.message, hint=error.hint))


def error_of(status: int, problem: Problem) -> RelayRunnerError:
    """Return the error that an answer which is neither 2xx nor 5xx says."""
    if problem.code == ClaimLost.code:
        return ClaimLost(problem.message, hint=problem.hint)
    if status in (401, 403):
        return RelayUnauthorized(problem.message, hint=problem.hint, status=status, code=problem.code)
    if status == 404:
        return RelayNotFound(problem.message, hint=problem.hint, code=problem.code)
    return RelayRefused(problem.message, hint=problem.hint, status=status, code=problem.code)
