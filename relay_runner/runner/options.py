"""What a runner is asked to be: the frozen result of flags, environment and settings files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay_runner.protocol.budgets import Budgets
from relay_runner.protocol.permissions import PERMISSION_DEADLINE_S
from relay_runner.protocol.profiles import NO_PROFILE, Profile
from relay_runner.runner.limits import LEAST_S


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """One agent under one runner."""

    agent_id: str
    provider: str
    cwd: Path
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    """From the provider's settings; reaches the program only with the host's globals."""
    model: str | None = None
    effort: str | None = None
    approval_mode: str = "ask"
    profile: Profile = NO_PROFILE
    label: str | None = None
    tags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    prompt: str | None = None
    """Sent to the agent once per session, as an ordinary message of the person who started it."""
    system_prompt_append: str | None = None
    isolated_home: bool = False
    """The program's settings, log-in and sessions are the agent's own, not the user's."""
    secrets: Path | None = None
    """The folder that an isolated home's log-in and settings are copied from; only read."""
    headless: bool = False
    trust_folder: bool = False
    resume: str | None = None
    """A session to go on with; the agent's own last one is resumed without asking."""
    fresh: bool = False
    """Never resume: start a new session."""
    replace: bool = False
    """Take over from a live runner of the same agent."""
    tmux_session: str | None = None
    screen: tuple[int, int] | None = None
    """The columns and rows of the agent's terminal; None is the usual size. They stay as they are, whoever looks."""
    info_file: Path | None = None
    shutdown_timeout_s: float | None = None
    """How long the program gets from TERM to KILL; None is what suits the provider."""
    turn_timeout_s: float | None = None
    """How long the turn of a message may take: then it is interrupted, and has failed."""
    permission_deadline_s: float = PERMISSION_DEADLINE_S
    """How long an answer from elsewhere to a permission is waited for."""
    least_hold_s: float = LEAST_S
    """How long a rate limit holds the queue at least."""
    unreachable_s: float = 120.0
    """How long a turn may do nothing but try to reach its model."""
    budgets: Budgets = field(default_factory=Budgets)
    rig: str | None = None
    policy_name: str | None = None
    spawn_request_id: str | None = None
    automation_id: str | None = None
    automation_run_id: str | None = None
    workspace: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunnerExit:
    """Why a runner ended, and the exit code that says so (documented in README)."""

    code: int
    reason: str
