"""A provider and a terminal that do what the test says: the other side of the runner's contracts, without a program."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from relay_runner.protocol.permissions import Decision
from relay_runner.protocol.profiles import Fate, Profile, Projected, asked
from relay_runner.providers.base import (
    CLEAR,
    COMPACT,
    INJECT,
    NOT_FOUND,
    Answer,
    Capabilities,
    Emit,
    Event,
    Evidence,
    Held,
    HookCall,
    HookReply,
    LaunchPlan,
    LaunchSpec,
    Operation,
    PermissionAsked,
    PermissionClosed,
    ProcessState,
    Seen,
    SessionStarted,
    StateChanged,
    Submission,
    SubmitResult,
    Submitted,
    TurnState,
    Versions,
)
from relay_runner.terminal.base import (
    ExitStatus,
    Key,
    ProcessIdentity,
    SavedTerminal,
    Screen,
    Terminal,
    TerminalSpec,
)
from tests.terminals import until

Script = Callable[["ScriptedProcess", Submission], SubmitResult]


def takes_it(process: ScriptedProcess, submission: Submission) -> SubmitResult:
    """Take the message and say nothing more."""
    return Submitted("script")


class ScriptedProcess:
    """Answer `submit` by a script, `find` from a table, and emit what the test emits."""

    def __init__(self, emit: Callable[[Event], None] = lambda event: None, script: Script = takes_it) -> None:
        self._emit = emit
        self.script = script
        self.submissions: list[Submission] = []
        self.submitted = asyncio.Condition()
        self.records: dict[str, Evidence] = {}
        self.seen: set[str] = set()
        """What it proved to have, and wrote down."""
        self.hooks: list[HookCall] = []
        self.answer_hook: Callable[[HookCall], Any] | None = None
        self.interrupts = 0
        self.not_ready: Exception | None = None
        self.ready_after: asyncio.Event | None = None
        self.viewer: tuple[str, ...] = ()
        self.takes: dict[str, dict[str, str]] = {}
        """What its operations take that is its own."""
        self.operates: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {}
        """What it can do, by name."""
        self.operated: list[tuple[str, Mapping[str, Any]]] = []
        self.asked: dict[str, None] = {}
        self.answers: list[tuple[str, Answer]] = []
        self.answer_error: Exception | None = None
        self.left: list[str] = []
        self._state = ProcessState.IDLE

    @property
    def state(self) -> ProcessState:
        return self._state

    def emit(self, event: Event) -> None:
        if isinstance(event, Seen):
            self.seen.add(event.nonce)
        self._emit(event)

    def becomes(self, state: ProcessState) -> None:
        self._state = state
        self.emit(StateChanged(state, "script"))

    async def ready(self) -> None:
        if self.not_ready is not None:
            raise self.not_ready
        if self.ready_after is not None:
            await self.ready_after.wait()
        self.becomes(ProcessState.IDLE)

    async def obstacle(self, submission: Submission) -> Held | None:
        return None

    async def submit(self, submission: Submission) -> SubmitResult:
        async with self.submitted:
            self.submissions.append(submission)
            self.submitted.notify_all()
        return self.script(self, submission)

    async def until(self, count: int) -> list[Submission]:
        """Wait until `count` messages were put in."""
        async with asyncio.timeout(10), self.submitted:
            await self.submitted.wait_for(lambda: len(self.submissions) >= count)
        return self.submissions

    async def find(self, nonce: str) -> Evidence:
        told = Evidence(True, "script", TurnState.RUNNING) if nonce in self.seen else NOT_FOUND
        return self.records.get(nonce, told)

    async def hook(self, call: HookCall) -> HookReply:
        self.hooks.append(call)
        if self.answer_hook is None:
            return HookReply()
        reply = await self.answer_hook(call)
        assert isinstance(reply, HookReply)
        return reply

    async def snapshot(self) -> str:
        return "the last line"

    async def interrupt(self) -> None:
        self.interrupts += 1
        self.becomes(ProcessState.IDLE)

    def asks(self, id: str = "p1", **more: Any) -> None:
        """Ask a permission."""
        self.asked[id] = None
        self._state = ProcessState.WAITING
        self.emit(PermissionAsked(id, "command", "mkdir x", "script", **more))

    def closes(self, id: str, *, answered: bool = True, decision: Decision | None = None) -> None:
        """Tell that a question is over."""
        self.asked.pop(id, None)
        self.emit(PermissionClosed(id, "script", answered, decision))

    async def answer(self, permission_id: str, answer: Answer) -> bool:
        """Take the answer, unless the test wants an error; False for what is not asked."""
        self.answers.append((permission_id, answer))
        if self.answer_error is not None:
            raise self.answer_error
        if permission_id not in self.asked:
            return False
        self.closes(permission_id, decision=answer.decision)
        return True

    async def leave(self, permission_id: str) -> None:
        """Write it down."""
        self.left.append(permission_id)

    @property
    def operations(self) -> Mapping[str, Operation]:
        """What the test made it able to do."""
        known = {"compact": COMPACT, "clear": CLEAR, "inject": INJECT}
        other = {name: Operation(name, takes) for name, takes in self.takes.items()}
        return {name: {**known, **other}.get(name, Operation(name)) for name in self.operates}

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do it and write it down."""
        self.operated.append((action, args))
        return self.operates[action](args)

    async def quit(self) -> None:
        return

    def explain_exit(self, status: ExitStatus, screen: Screen | None) -> str:
        return str(status)


class ScriptedTerminal:
    """A terminal whose program ends when the test says so."""

    def __init__(self, spec: TerminalSpec, number: int) -> None:
        self.spec = spec
        self.process = ProcessIdentity(100_000_000 + number, number)
        self.saved = SavedTerminal(
            "scripted", self.process, str(spec.run_dir), "/no/socket", spec.name, "%0", keeper="/no/pipe"
        )
        self.ended: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self.steps: list[str] = []
        self.watched = False
        self.trouble: str | None = None

    def ends(self, code: int | None) -> None:
        if not self.ended.done():
            self.ended.set_result(ExitStatus(code))

    async def wait_exit(self) -> ExitStatus:
        return await asyncio.shield(self.ended)

    def alive(self) -> bool:
        return not self.ended.done()

    async def capture(self) -> Screen:
        return Screen(("the last line",))

    async def paste(self, text: str, *, then: Key | None = None) -> None:
        self.steps.append("paste")

    async def press(self, *keys: Key) -> None:
        self.steps.append("press")

    async def type(self, text: str) -> None:
        self.steps.append("type")

    def attach_command(self, viewer: tuple[str, ...] = ()) -> tuple[str, ...]:
        return ("attach", self.spec.name)

    async def repair(self) -> str | None:
        return self.trouble

    async def show(self, viewer: tuple[str, ...]) -> None:
        self.steps.append("show")

    async def attended(self) -> bool:
        return self.watched

    async def terminate(self, *, grace_s: float = 5.0) -> ExitStatus:
        self.steps.append(f"terminate {grace_s:g}")
        self.ends(-15 if grace_s else -9)
        return self.ended.result()

    async def close(self, *, keep_viewer: bool = False) -> None:
        self.steps.append("close, but for viewers" if keep_viewer else "close")

    def detach(self) -> None:
        self.steps.append("detach")


class ScriptedTerminals:
    """Open scripted terminals, and let a later runner adopt those that live."""

    def __init__(self) -> None:
        self.opened: list[ScriptedTerminal] = []
        self.errors: list[Exception | None] = []

    async def open(self, spec: TerminalSpec) -> ScriptedTerminal:
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        self.opened.append(ScriptedTerminal(spec, len(self.opened)))
        return self.opened[-1]

    async def adopt(self, saved: SavedTerminal) -> ScriptedTerminal | None:
        found = next((one for one in self.opened if one.process == saved.process), None)
        return found if found is not None and found.alive() else None

    async def listener(self, saved: SavedTerminal) -> socket.socket | None:
        return None

    async def nth(self, count: int) -> ScriptedTerminal:
        """Wait for the `count`-th terminal."""
        await until(lambda: len(self.opened) >= count)
        return self.opened[count - 1]


class ScriptedProvider:
    """A provider whose processes are scripted; every one of them is kept."""

    name = "scripted"
    versions: Versions | None = None

    def __init__(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        self.specs: list[LaunchSpec] = []
        self.processes: list[ScriptedProcess] = []
        self.lost = False
        self.not_ready: Exception | None = None
        self.ready_after: asyncio.Event | None = None
        """What the next processes wait for before they are ready."""

    def project(self, profile: Profile) -> tuple[Projected, ...]:
        return tuple(Projected(key=key, fate=Fate.IGNORED, why="it is scripted") for key in asked(profile))

    def credentials(self, spec: LaunchSpec) -> frozenset[str]:
        return frozenset({"ANTHROPIC_API_KEY"})

    def check(self, spec: LaunchSpec) -> None:
        return

    def plan(self, spec: LaunchSpec) -> LaunchPlan:
        self.specs.append(spec)
        session = spec.resume_session or f"session-{len(self.specs)}"
        return LaunchPlan(("scripted",), spec.environ, spec.cwd, session, resumed=spec.resume_session is not None)

    def lost_session(self, plan: LaunchPlan, screen: Screen | None) -> bool:
        return self.lost and plan.resumed

    @asynccontextmanager
    async def connect(
        self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, *, adopted: bool
    ) -> AsyncIterator[ScriptedProcess]:
        process = ScriptedProcess(emit)
        if self.not_ready is not None:
            process.not_ready = self.not_ready
        process.ready_after = self.ready_after
        self.processes.append(process)
        emit(SessionStarted(plan.session_id or "", "script"))
        yield process
