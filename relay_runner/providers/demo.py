"""The demo provider: drives the agent that ships with this package, for a first look and for tests.

It has everything a real one has and needs no account. Its evidence is the transcript that the program writes into the
agent's folder: what stands there was really taken, also when no runner was alive to see it.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from relay_runner.config import private_dir
from relay_runner.errors import ProviderUnsupported
from relay_runner.protocol.profiles import Profile, Projected
from relay_runner.providers import projection
from relay_runner.providers.base import Capabilities, Emit, LaunchPlan, LaunchSpec, Process
from relay_runner.providers.beside import beside
from relay_runner.providers.demo_process import DemoProcess
from relay_runner.terminal.base import Screen, Terminal

PROGRAM = (sys.executable, "-X", "utf8", "-P", "-m", "relay_runner.providers.demo_agent")
APPROVAL_MODES = frozenset({"ask", "bypass"})


class DemoProvider:
    """The demo agent."""

    name = "demo"
    versions = None
    capabilities = Capabilities(
        evidence=True, results=True, interrupt=True, compact=True, clear=True, inject=True, resume=True, subagents=True,
        permissions=True, tokens=True, cost=True,
        approval_modes=APPROVAL_MODES, session_files=False, session_shell=False,
    )  # fmt: skip

    def project(self, profile: Profile) -> tuple[Projected, ...]:
        """Return what becomes of a profile: nothing, for there is no model."""
        return projection.project(profile, {}, "the demo agent has no model to tell it to")

    def credentials(self, spec: LaunchSpec) -> frozenset[str]:
        """Return none: there is no account."""
        return frozenset()

    def check(self, spec: LaunchSpec) -> None:
        """Raise `ProviderUnsupported` for an approval mode or a prompt that it cannot have."""
        if spec.system_prompt_append:
            raise ProviderUnsupported(
                "the demo agent has no system prompt", hint="leave --system-prompt-append out, or use --prompt"
            )
        if spec.approval_mode not in APPROVAL_MODES:
            raise ProviderUnsupported(
                f"the demo agent has no approval mode {spec.approval_mode!r}", hint="use ask or bypass"
            )

    def plan(self, spec: LaunchSpec) -> LaunchPlan:
        """Return how to start the program; a session that left no transcript is started fresh."""
        folder = private_dir(spec.agent_dir / "demo")
        wanted = spec.resume_session
        resumed = wanted is not None and transcript(spec, wanted).is_file()
        session = wanted if wanted is not None and resumed else str(uuid.uuid4())
        words = ("--transcript", str(folder / f"{session}.jsonl"), "--resume" if resumed else "--session", session)
        allow = ("--allow",) if spec.approval_mode == "bypass" else ()
        notes = () if wanted is None or resumed else (f"session {wanted} is not there: a new one was started",)
        return LaunchPlan(
            argv=(*(spec.command or PROGRAM), *words, *allow, *spec.args),
            env=spec.environ,
            cwd=spec.cwd,
            session_id=session,
            resumed=resumed,
            title=f"{spec.label or spec.agent_id} (demo)",
            notes=notes,
        )

    def lost_session(self, plan: LaunchPlan, screen: Screen | None) -> bool:
        """Say no: a session without a transcript is not resumed in the first place."""
        return False

    def connect(
        self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, *, adopted: bool
    ) -> AbstractAsyncContextManager[Process]:
        """Watch the program in `terminal`."""
        file = transcript(spec, plan.session_id or "")
        return _connect(DemoProcess(file, spec.control.provider_session_id, terminal, emit, adopted=adopted))


def transcript(spec: LaunchSpec, session: str) -> Path:
    """Return the file of one session."""
    return spec.agent_dir / "demo" / f"{Path(session).name}.jsonl"


@asynccontextmanager
async def _connect(process: DemoProcess) -> AsyncIterator[Process]:
    async with beside(process.follow()):
        yield process
