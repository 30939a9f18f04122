"""The generic provider: any program that reads lines at a terminal, `relay-runner start generic -- python3 -i`.

What goes in is the message's body and nothing else (as it would stand in an envelope, see `envelope.body_text`): a
program without a model would execute the envelope. It goes in as a person would paste it, followed by Enter: in
brackets as one piece where the program asked for bracketed pastes (bash, IPython, other agents), line by line where it
did not, and then such a program acts on each line by itself.

There is no evidence that a program took anything, so a delivery ends as `submitted`. Busy and idle are read from the
screen and the process (see `quiet`), and the result is what the screen showed since, as far as it did not scroll out.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from relay_runner.config import CREDENTIALS
from relay_runner.errors import ConfigError, ProviderNotFound, ProviderUnsupported
from relay_runner.protocol.profiles import Profile, Projected
from relay_runner.providers import projection
from relay_runner.providers.base import Capabilities, Emit, LaunchPlan, LaunchSpec, Process
from relay_runner.providers.beside import beside
from relay_runner.providers.generic_process import GenericProcess
from relay_runner.providers.quiet import QUIET_S, QuietScreen
from relay_runner.terminal.base import Screen, Terminal

HEADLESS_READY_S = 60.0
APPROVAL_MODES = frozenset({"ask", "bypass"})


class GenericProvider:
    """Any terminal program; `quiet_s` is how long its screen stands still before it counts as idle."""

    name = "generic"
    versions = None
    capabilities = Capabilities(results=True, interrupt=True, approval_modes=APPROVAL_MODES)

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s

    def project(self, profile: Profile) -> tuple[Projected, ...]:
        """Return what becomes of a profile: nothing, for what the program is nobody knows."""
        return projection.project(profile, {}, "generic does not know the program: give it as arguments")

    def credentials(self, spec: LaunchSpec) -> frozenset[str]:
        """Return all: which of them the program uses nobody knows."""
        return CREDENTIALS

    def check(self, spec: LaunchSpec) -> None:
        """Raise what is known before a start: no command, a program that is not there, a mode that cannot be held."""
        command = (*spec.command, *spec.args)
        if not command:
            raise ConfigError("generic needs a command", hint="relay-runner start generic -- python3 -i")
        if spec.approval_mode not in APPROVAL_MODES:
            raise ProviderUnsupported(
                f"generic cannot hold a program to {spec.approval_mode!r}",
                hint="use ask: the program asks as it always does",
            )
        if spec.system_prompt_append:
            raise ProviderUnsupported(
                "generic knows no system prompt", hint="leave --system-prompt-append out, and give it as an argument"
            )
        if shutil.which(command[0], path=spec.environ.get("PATH")) is None and not (spec.cwd / command[0]).is_file():
            raise ProviderNotFound(f"{command[0]} is not on PATH", hint="install it, or give its full path")

    def plan(self, spec: LaunchSpec) -> LaunchPlan:
        """Return the command as it was given."""
        command = (*spec.command, *spec.args)
        notes = ("generic has no sessions: a fresh one was started",) if spec.resume_session else ()
        title = f"{spec.label or spec.agent_id} ({Path(command[0]).name})"
        return LaunchPlan(argv=command, env=spec.environ, cwd=spec.cwd, title=title, notes=notes)

    def lost_session(self, plan: LaunchPlan, screen: Screen | None) -> bool:
        """Say no: there are no sessions."""
        return False

    def connect(
        self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, *, adopted: bool
    ) -> AbstractAsyncContextManager[Process]:
        """Watch the program in `terminal`; an adopted one is watched as if it were new."""
        ready_s = HEADLESS_READY_S if spec.headless else None
        return _connect(GenericProcess(plan.argv[0], terminal, emit, QuietScreen(self._quiet_s), ready_s))


@asynccontextmanager
async def _connect(process: GenericProcess) -> AsyncIterator[Process]:
    async with beside(process.watch()):
        yield process
