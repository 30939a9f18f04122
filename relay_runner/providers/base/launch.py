"""Everything that a provider needs to know to start its program, and how it is to be started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.permissions import PERMISSION_DEADLINE_S
from relay_runner.protocol.profiles import NO_PROFILE, Profile
from relay_runner.providers.base.tools import Owed, Tools, nothing_owed


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything a provider may need to know to start its program."""

    agent_id: str
    runner_id: str
    cwd: Path
    agent_dir: Path
    """`agents/<id>` in the state folder, 0700: rendered settings go here, 0600."""
    control: ControlEndpoint
    environ: Mapping[str, str]
    """The scrubbed environment it inherits, with `AGENT_RELAY_*` and the private bin folder first on PATH."""
    args: tuple[str, ...] = ()
    """What the person gave after `--`: the provider's arguments, or for `generic` the whole command."""
    command: tuple[str, ...] = ()
    """Overrides the program itself (provider config)."""
    model: str | None = None
    effort: str | None = None
    approval_mode: str = "ask"
    system_prompt_append: str | None = None
    headless: bool = False
    trust_folder: bool = False
    label: str | None = None
    unreachable_s: float = 120.0
    """How long a turn may do nothing but try to reach its model, where the program itself would try for ever."""
    profile: Profile = NO_PROFILE
    permission_deadline_s: float = PERMISSION_DEADLINE_S
    """How long the runner waits for an answer from elsewhere: a hook that waits with it has to wait longer."""
    resume_session: str | None = None
    """Go on with this session; None starts a fresh one."""
    owed: Owed = nothing_owed
    """What is still owed when a turn is about to end."""
    tools: Tools | None = None
    """What the model may be offered as tools, where the provider can do that."""
    isolated_home: bool = False
    """Keep the program's settings, log-in and sessions in the agent's folder, apart from the user's."""
    hidden: tuple[Path, ...] = ()
    """What no sandboxed command of it may see: the relay's credentials, and the doors out of a sandbox."""
    secrets: Path | None = None
    """Where an isolated home's log-in and settings are copied from; None: from the user's own. Only read."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """How to start the program: a pure value, with every file already rendered."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    session_id: str | None = None
    """The session's id where it is known before the start."""
    resumed: bool = False
    title: str = ""
    programs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Commands to put into the private bin folder, first on the program's PATH: name -> argv."""
    notes: tuple[str, ...] = ()
    """Lines for a person: what was not applied, and why."""
