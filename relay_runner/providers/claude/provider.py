"""Claude Code: what it can do, what is known before a start, and how it is started and watched."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from relay_runner.errors import ProviderNotFound, ProviderNotReady, ProviderUnsupported
from relay_runner.protocol.profiles import Profile, Projected
from relay_runner.providers.base import Capabilities, Emit, LaunchPlan, LaunchSpec, Process
from relay_runner.providers.beside import beside
from relay_runner.providers.claude import launch
from relay_runner.providers.claude import profile as own
from relay_runner.providers.claude.home import CREDENTIAL_VARIABLES, ClaudeHome
from relay_runner.providers.claude.process import ClaudeProcess
from relay_runner.providers.claude.screen import NO_CONVERSATION, TRUST_MEANS
from relay_runner.providers.claude.versions import VERSIONS
from relay_runner.terminal.base import Screen, Terminal


class ClaudeProvider:
    """See `providers.base.Provider`."""

    name = "claude"
    versions = VERSIONS
    capabilities = Capabilities(
        evidence=True,
        results=True,
        steer=True,
        interrupt=True,
        compact=True,
        clear=True,
        inject=True,
        tokens=True,
        cost=True,
        resume=True,
        subagents=True,
        permissions=True,
        approval_modes=frozenset(launch.PERMISSION_MODES),
        hooks=True,
        isolated_home=True,
    )

    def project(self, profile: Profile) -> tuple[Projected, ...]:
        """Return what becomes of a profile."""
        return own.project(profile)

    def credentials(self, spec: LaunchSpec) -> frozenset[str]:
        """Return the variables that Claude Code takes a key or a log-in from."""
        return frozenset({*CREDENTIAL_VARIABLES, "AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_FOUNDRY_API_KEY"})

    def check(self, spec: LaunchSpec) -> None:
        """Raise for what is known before a start; a dialog is only in the way when nobody is there to answer it."""
        spec = own.placed(spec)
        self._program(spec)
        launch.check_args(spec.args)
        if spec.resume_session is not None and not _is_uuid(spec.resume_session):
            raise ProviderUnsupported(
                f"{spec.resume_session!r} is not a Claude Code session id", hint="session ids are UUIDs"
            )
        if spec.approval_mode not in launch.PERMISSION_MODES:
            raise ProviderUnsupported(
                f"claude has no approval mode {spec.approval_mode!r}", hint=f"use {', '.join(launch.PERMISSION_MODES)}"
            )
        if spec.secrets is not None:
            raise ProviderUnsupported(
                "claude takes no folder of secrets", hint="give its key in ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN"
            )
        if spec.headless:
            self._check_unattended(spec)

    def plan(self, spec: LaunchSpec) -> LaunchPlan:
        """Render the settings and return how to start the program."""
        spec = own.placed(spec)
        return launch.plan(spec, (self._program(spec), *spec.command[1:]), ClaudeHome.of(spec.environ))

    def lost_session(self, plan: LaunchPlan, screen: Screen | None) -> bool:
        """Say whether the program ended because it does not know the session that it was to resume."""
        return plan.resumed and screen is not None and NO_CONVERSATION.search(screen.text) is not None

    def connect(
        self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, *, adopted: bool
    ) -> AbstractAsyncContextManager[Process]:
        """Watch the program in `terminal`; see `Provider.connect`."""
        spec = own.placed(spec)
        process = ClaudeProcess(spec, plan, terminal, emit, ClaudeHome.of(spec.environ), adopted=adopted)
        return _watched(process)

    def _program(self, spec: LaunchSpec) -> str:
        wanted = spec.command[0] if spec.command else VERSIONS.command
        program = shutil.which(wanted, path=spec.environ.get("PATH"))
        if program is None:
            raise ProviderNotFound(f"{wanted} is not installed", hint=VERSIONS.install)
        return program

    def _check_unattended(self, spec: LaunchSpec) -> None:
        home = ClaudeHome.of(spec.environ)
        if not home.onboarded():
            raise ProviderNotReady("Claude Code was never set up here", hint="run `claude` once")
        if spec.isolated_home and not home.logged_in(spec.environ):
            raise ProviderNotReady(
                "a home of its own has no log-in of Claude Code",
                hint="set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, or start it without one",
            )
        if not home.logged_in(spec.environ):
            raise ProviderNotReady("Claude Code is not logged in", hint="run `claude` once")
        if home.asks_for_key(spec.environ):
            raise ProviderNotReady(
                "Claude Code would ask whether it may use ANTHROPIC_API_KEY", hint="run `claude` once and answer"
            )
        sandboxed = spec.trust_folder or spec.environ.get("CLAUDE_CODE_SANDBOXED")
        if not sandboxed and not home.trusts(spec.cwd):
            raise ProviderNotReady(
                f"Claude Code does not trust the folder {spec.cwd} yet",
                hint=f"run `claude` there once, or start with --trust-folder: {TRUST_MEANS}",
            )


@contextlib.asynccontextmanager
async def _watched(process: ClaudeProcess) -> AsyncIterator[Process]:
    """Follow the program's records while the context is open."""
    async with beside(process.watch()):
        try:
            yield process
        finally:
            process.close()


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
