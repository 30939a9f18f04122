"""What a runner's localhost control server and its files say.

Hooks, the agent's own tools and the command line speak these words to the runner on this machine.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from relay_runner.protocol.agents import WorkKind
from relay_runner.protocol.wire import Wire


class ControlEndpoint(Wire, frozen=True, kw_only=True):
    """Where the control server of one provider process listens; `control.json`, 0600."""

    url: str
    port: int
    secret: str
    provider_session_id: str
    """Fresh for every provider process; a hook that carries another one comes from a dead process and is dropped."""
    socket: str | None = None
    """The same server at a unix socket, for what can speak over one: only this user can listen there."""


class RunnerInfo(Wire, frozen=True, kw_only=True):
    """`info.json`, 0600: a running runner, for the command line and for spawners."""

    agent_id: str
    runner_id: str
    instance_id: str
    provider: str
    control_url: str
    pid: int
    started_at: float
    cwd: str
    tmux_session: str | None = None
    tmux_socket: str | None = None
    provider_pid: int | None = None
    session_id: str | None = None
    attach: tuple[str, ...] = ()
    """The command line that shows the provider's terminal; empty where there is none."""


class Attach(Wire, frozen=True, kw_only=True):
    """How a person gets to see an agent's terminal; others at the relay are told all of it but the command."""

    kind: str
    """`tmux`, or `pty`: that one nobody can attach to."""
    machine: str
    session: str | None = None
    socket: str | None = None
    columns: int
    rows: int
    command: tuple[str, ...] = ()
    """The command line that shows it, on that machine, to the user who runs the agent; empty while there is none."""


class PostedStatus(StrEnum):
    """What a script inside may say of itself."""

    BUSY = "busy"
    IDLE = "idle"
    ERROR = "error"


class TimelinePost(Wire, frozen=True, kw_only=True):
    """One thing that happened, for the agent's timeline."""

    kind: str
    data: dict[str, Any] = {}


class StatusPost(Wire, frozen=True, kw_only=True):
    """`POST /status` at the control server: a hook script or an extension says what its program does."""

    status: PostedStatus
    """`busy` begins a piece of work or says that it goes on, `idle` ends it, `error` is shown until the next post."""
    provider_session_id: str | None = None
    """`AGENT_RELAY_PROVIDER_SESSION_ID`, or the session's own id: a post of another one is dropped."""
    reason: WorkKind = WorkKind.TURN
    """What kind of work it is."""
    id: str | None = None
    """Which one; an `idle` without it ends all posted work of this kind."""
    label: str | None = None
    role: str | None = None
    parent_id: str | None = None
    metadata: dict[str, Any] = {}
    provider_state: str | None = None
    """The program's own word for what it does."""
    timeline: TimelinePost | None = None
    clear: tuple[WorkKind, ...] = ()
    """Ends all posted work of these kinds first."""


class StatusAnswer(Wire, frozen=True, kw_only=True):
    """Whether a post counts, and why not."""

    accepted: bool
    reason: str | None = None
