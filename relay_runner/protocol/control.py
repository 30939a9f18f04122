"""What a runner's localhost control server and its files say.

Hooks, the agent's own tools and the command line speak these words to the runner on this machine.
"""

from __future__ import annotations

from relay_runner.protocol.wire import Wire


class ControlEndpoint(Wire, frozen=True, kw_only=True):
    """Where the control server of one provider process listens; `control.json`, 0600."""

    url: str
    port: int
    secret: str
    provider_session_id: str
    """Fresh for every provider process; a hook that carries another one comes from a dead process and is dropped."""


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
