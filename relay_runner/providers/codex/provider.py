"""Codex: what it can do, what is known before a start, and how it is started and watched."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from relay_runner.errors import ProviderNotReady, ProviderUnsupported
from relay_runner.protocol.profiles import Profile, Projected
from relay_runner.providers.base import Capabilities, Emit, LaunchPlan, LaunchSpec, Process
from relay_runner.providers.beside import beside
from relay_runner.providers.codex import launch, projection
from relay_runner.providers.codex import profile as own
from relay_runner.providers.codex.process import CodexProcess
from relay_runner.providers.codex.versions import VERSIONS
from relay_runner.terminal.base import Screen, Terminal

THREAD_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class CodexProvider:
    """See `providers.base.Provider`."""

    name = "codex"
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
        grace_s=1.5,  # its turn was interrupted before: there is nothing to wait for
        resume=True,
        subagents=True,
        permissions=True,
        approval_modes=frozenset(launch.MODES),
        viewer=True,
        read_only_shell=True,
        isolated_home=True,
    )

    def project(self, profile: Profile) -> tuple[Projected, ...]:
        """Return what becomes of a profile."""
        return own.project(profile)

    def credentials(self, spec: LaunchSpec) -> frozenset[str]:
        """Return the variables that Codex takes a key from: its own, and those that its settings name."""
        return frozenset({*projection.KEYS, *projection.source(spec).env_keys()})

    def check(self, spec: LaunchSpec) -> None:
        """Raise for what is known before a start."""
        launch.program(spec)
        projection.check(spec)
        launch.check_args(spec.args)
        if spec.resume_session is not None and not THREAD_ID.fullmatch(spec.resume_session):
            raise ProviderUnsupported(
                f"{spec.resume_session!r} is not a Codex session id", hint="session ids are UUIDs"
            )
        if spec.approval_mode not in launch.MODES:
            raise ProviderUnsupported(
                f"codex has no approval mode {spec.approval_mode!r}", hint=f"use {', '.join(launch.MODES)}"
            )
        if spec.headless and (missing := projection.source(spec).missing_login(spec.environ)):
            raise ProviderNotReady(f"Codex cannot be used yet: {missing}", hint="run `codex login`, or `codex` once")

    def plan(self, spec: LaunchSpec) -> LaunchPlan:
        """Return how to start the program, and fill its home where that is the agent's own."""
        projection.project(spec)
        return launch.plan(projection.isolated(spec))

    def lost_session(self, plan: LaunchPlan, screen: Screen | None) -> bool:
        """Say no: an app-server outlives a session that is lost, and a new one is started in it."""
        return False

    def connect(
        self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, *, adopted: bool
    ) -> AbstractAsyncContextManager[Process]:
        """Be a client of the app-server in `terminal`; see `Provider.connect`."""
        return _watched(CodexProcess(projection.isolated(spec), plan, terminal, emit, adopted=adopted))


@asynccontextmanager
async def _watched(process: CodexProcess) -> AsyncIterator[Process]:
    async with beside(process.watch()):
        yield process
