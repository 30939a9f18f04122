"""The two interfaces that every provider has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from relay_runner.protocol.profiles import Profile, Projected
from relay_runner.providers.base.abilities import Capabilities
from relay_runner.providers.base.events import Emit, ProcessState
from relay_runner.providers.base.exchange import (
    Answer,
    Evidence,
    Held,
    HookCall,
    HookReply,
    Submission,
    SubmitResult,
)
from relay_runner.providers.base.launch import LaunchPlan, LaunchSpec
from relay_runner.providers.base.operations import Operation
from relay_runner.providers.base.versions import Versions
from relay_runner.terminal.base import ExitStatus, Screen, Terminal


class Process(Protocol):
    """One running program under this runner."""

    @property
    def state(self) -> ProcessState:
        """The state of the last `StateChanged`."""
        ...

    @property
    def viewer(self) -> tuple[str, ...]:
        """The program that shows the session to a person, started for as long as one looks; nothing secret is in it.

        Empty where the terminal itself shows it, and before `ready`.
        """
        ...

    async def ready(self) -> None:
        """Return when messages can go in; raise `ProviderNotReady` or `ProviderExited` with what the screen says.

        In an interactive start a dialog on the screen is the person's to answer, and this waits for it.
        """
        ...

    async def obstacle(self, submission: Submission) -> Held | None:
        """Say what would hold this submission now; nothing is done about it.

        Asked while the relay is being told: `submit`, which follows at once, need not look at the screen once more.
        """
        ...

    async def submit(self, submission: Submission) -> SubmitResult:
        """Put one message in, at most once (see the module's law). Never called twice at a time."""
        ...

    async def find(self, nonce: str) -> Evidence:
        """Ask the provider's own records what became of a nonce."""
        ...

    async def hook(self, call: HookCall) -> HookReply:
        """Answer one hook call; may take as long as the caller waits."""
        ...

    async def interrupt(self) -> None:
        """Stop the running turn; raise `ProviderUnsupported` where that cannot be done."""
        ...

    async def answer(self, permission_id: str, answer: Answer) -> bool:
        """Put an answer to an open permission in; False: it was answered or withdrawn before, or is not known here.

        Raise `ProviderUnsupported` where only the terminal can answer it (any more), `ProviderRefused` where the answer
        does not fit the question. `PermissionClosed` follows in any case when the question is over.
        """
        ...

    async def leave(self, permission_id: str) -> None:
        """Stop waiting for an answer from elsewhere: from now on the program's own dialog asks."""
        ...

    @property
    def operations(self) -> Mapping[str, Operation]:
        """What `operate` takes now, by name; a provider whose version decides finds out when it is ready."""
        ...

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do one of the provider's own operations (`compact`, `clear`, `inject` and its others); return its result.

        It is given only arguments that the operation says to take. Raise
        `ProviderUnsupported` for one that this version lacks, `ProviderRefused` for what cannot be done now.
        """
        ...

    async def snapshot(self) -> str:
        """Return what the program shows and says of itself now, for the log: bounded, and never raised."""
        ...

    async def quit(self) -> None:
        """Ask the program to end by itself, if it has a way; the terminal ends it by force afterwards."""
        ...

    def explain_exit(self, status: ExitStatus, screen: Screen | None) -> str:
        """Return one line for a person: why the program ended, and what to do."""
        ...


class Provider(Protocol):
    """One kind of coding agent."""

    @property
    def name(self) -> str:
        """The word on the command line."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def versions(self) -> Versions | None:
        """The program that it drives and which versions of it were tried; None for one that comes with us, or any."""
        ...

    def project(self, profile: Profile) -> tuple[Projected, ...]:
        """Return what becomes of everything that a profile asks for: applied, partly, ignored, and why."""
        ...

    def credentials(self, spec: LaunchSpec) -> frozenset[str]:
        """Return which variables of the environment hold secrets of this program's own, like its API key."""
        ...

    def check(self, spec: LaunchSpec) -> None:
        """Raise `ProviderNotFound`, `ProviderNotReady` or `ProviderUnsupported` for what is known before a start."""
        ...

    def plan(self, spec: LaunchSpec) -> LaunchPlan:
        """Render the settings into `spec.agent_dir` and return how to start the program."""
        ...

    def lost_session(self, plan: LaunchPlan, screen: Screen | None) -> bool:
        """Say whether a program that ended did so because the session it was to resume does not exist any more."""
        ...

    def connect(
        self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, *, adopted: bool
    ) -> AbstractAsyncContextManager[Process]:
        """Watch the program in `terminal`; leaving the context stops watching and leaves the program alone.

        `adopted` says that the program was started by an earlier runner: `plan` is the one saved then, hooks that fired
        meanwhile are lost, and the first `StateChanged` comes from records, not from hooks.
        """
        ...
