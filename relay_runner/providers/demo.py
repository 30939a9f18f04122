"""The demo provider: drives the agent that ships with this package, for a first look and for tests.

It has everything a real one has and needs no account. Its evidence is the transcript that the program writes into the
agent's folder: what stands there was really taken, also when no runner was alive to see it.

Channel: the whole envelope as one bracketed paste, then Enter, in one step; only while the program is idle, shows its
input line, and that line is empty. An Enter that was swallowed is pressed once more, and only while the transcript
knows nothing of the message and the paste still stands on the input line.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from relay_runner.config import private_dir
from relay_runner.errors import ProviderExited, ProviderNotReady, ProviderUnsupported, TerminalError
from relay_runner.providers.base import (
    Answer,
    Capabilities,
    Emit,
    Evidence,
    Held,
    HookCall,
    HookReply,
    LaunchPlan,
    LaunchSpec,
    Process,
    ProcessState,
    Submission,
    SubmitResult,
    Submitted,
    Uncertain,
)
from relay_runner.providers.beside import beside
from relay_runner.providers.demo_records import condense, events, find, input_line
from relay_runner.providers.tail import Follower, JsonLines
from relay_runner.terminal.base import ExitStatus, Key, Screen, Terminal

PROGRAM = (sys.executable, "-P", "-m", "relay_runner.providers.demo_agent")
CHANNEL = "paste"
READY_S = 20.0
ENTER_S = 3.0
"""How long the program may take from Enter to its transcript before the screen is looked at."""
EVIDENCE_S = 10.0
FRESH_S = 0.05
"""How long a look at the input line is good for."""
APPROVAL_MODES = frozenset({"ask", "bypass"})


class DemoProvider:
    """The demo agent."""

    name = "demo"
    capabilities = Capabilities(
        evidence=True, results=True, interrupt=True, resume=True, subagents=True, approval_modes=APPROVAL_MODES,
        session_files=False, session_shell=False,
    )  # fmt: skip

    def check(self, spec: LaunchSpec) -> None:
        """Raise `ProviderUnsupported` for an approval mode that it does not have."""
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


class DemoProcess:
    """One running demo agent."""

    viewer: tuple[str, ...] = ()
    """Its terminal shows it."""

    def __init__(self, file: Path, process_id: str, terminal: Terminal, emit: Emit, *, adopted: bool = False) -> None:
        self._file = file
        self._process_id = process_id
        self._terminal = terminal
        self._emit = emit
        self._adopted = adopted
        self._follower = Follower(JsonLines(file))
        self._ours = False
        """Whether the record of this very process was reached; what stands before is of earlier ones."""
        self._state = ProcessState.STARTING
        self._seen: set[str] = set()
        self._changed = asyncio.Condition()
        self._looked_at = 0.0

    @property
    def state(self) -> ProcessState:
        """The state of the last `StateChanged`."""
        return self._state

    async def follow(self) -> None:
        """Turn the transcript into events; after an adoption the past is told as what is still true of it."""
        past = self._adopted
        async for batch in self._follower.batches():
            records = [record for record in batch if isinstance(record, dict)]
            for record in condense(records) if past else records:
                self._take(record)
            past = False
            async with self._changed:
                self._changed.notify_all()

    async def ready(self) -> None:
        """Return when the program shows its input line."""
        try:
            async with asyncio.timeout(READY_S):
                if await self._until(lambda: self._state is not ProcessState.STARTING):
                    return
        except TimeoutError:
            screen = await self._terminal.capture()
            raise ProviderNotReady(f"the demo agent does not come up: {screen.tail(3)}") from None
        status = await self._terminal.wait_exit()
        tail = (await self._terminal.capture()).tail()
        raise ProviderExited(f"the demo agent ended: {status}", exit_code=status.code, tail=tail)

    async def obstacle(self, submission: Submission) -> Held | None:
        """Say what would hold a submission now: a turn, a question, a person's half-typed line."""
        held = await self._held()
        if held is None:
            self._looked_at = time.monotonic()
        return held

    async def submit(self, submission: Submission) -> SubmitResult:
        """Put one message in; see the module's head for the channel."""
        if time.monotonic() - self._looked_at > FRESH_S and (held := await self.obstacle(submission)) is not None:
            return held
        self._looked_at = 0.0
        try:
            await self._terminal.paste(submission.text, then=Key.ENTER)
        except ProviderExited:
            return Held("the program has ended")
        except TerminalError as error:
            return await self._judge(submission.nonce, str(error))
        try:
            arrived = await self._saw(submission.nonce, ENTER_S) or await self._repair(submission.nonce)
        except (ProviderExited, TerminalError) as error:
            return await self._judge(submission.nonce, str(error))
        return Submitted(CHANNEL) if arrived else await self._judge(submission.nonce, "no trace in the transcript")

    async def find(self, nonce: str) -> Evidence:
        """Ask the transcript what became of a nonce."""
        return find(self._file, nonce)

    async def hook(self, call: HookCall) -> HookReply:
        """Refuse: the demo agent calls no hooks."""
        return HookReply(status=404)

    async def interrupt(self) -> None:
        """Stop the running turn, if there is one."""
        if self._state in (ProcessState.BUSY, ProcessState.WAITING):
            await self._terminal.press(Key.ESCAPE)
            self._follower.nudge()

    async def answer(self, permission_id: str, answer: Answer) -> bool:
        """Refuse: it asks nothing that could be answered from elsewhere."""
        raise ProviderUnsupported("the demo agent asks no permissions that can be answered from elsewhere")

    async def leave(self, permission_id: str) -> None:
        """Do nothing: its own dialog asks anyway."""

    @property
    def operations(self) -> frozenset[str]:
        """None."""
        return frozenset()

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Refuse: the demo agent has no operations of its own."""
        raise ProviderUnsupported(f"the demo agent cannot {action}")

    async def quit(self) -> None:
        """Ask the program to end: Ctrl-C stops what it does or empties its line, Ctrl-D ends it."""
        await self._terminal.press(Key.CTRL_C, Key.CTRL_D)

    def explain_exit(self, status: ExitStatus, screen: Screen | None) -> str:
        """Return one line for a person."""
        if status.code == 0:
            return "the demo agent was ended by hand"
        last = screen.tail(1) if screen is not None else ""
        return f"the demo agent ended: {status}" + (f" ({last})" if status.code == 2 and last else "")

    # --- submitting ---------------------------------------------------------------------------------------------------

    async def _held(self) -> Held | None:
        match self._state:
            case ProcessState.WAITING:
                return Held("dialog open")
            case ProcessState.BUSY | ProcessState.STARTING:
                return Held(self._state.value)
        try:
            line = input_line(await self._terminal.capture())
        except ProviderExited:
            return Held("the program has ended")
        if line is None:
            return Held("no input line on the screen")
        return Held("person typing") if line else None

    async def _judge(self, nonce: str, doubt: str) -> SubmitResult:
        """Read the transcript to the end: only it can still tell."""
        return Submitted(CHANNEL) if (await self.find(nonce)).seen else Uncertain(doubt)

    async def _repair(self, nonce: str) -> bool:
        """Press a swallowed Enter again, if it provably was swallowed, and say whether the message is in now."""
        screen = await self._terminal.capture()
        line = input_line(screen)
        if line is not None and line.endswith(f'</relay-message nonce="{nonce}">') and nonce not in self._seen:
            await self._terminal.press(Key.ENTER)
        return await self._saw(nonce, EVIDENCE_S)

    async def _saw(self, nonce: str, seconds: float) -> bool:
        self._follower.nudge()
        try:
            async with asyncio.timeout(seconds):
                return await self._until(lambda: nonce in self._seen)
        except TimeoutError:
            return False

    async def _until(self, condition: Any) -> bool:
        """Return True when `condition` holds, False when the program ended without it."""

        async def held() -> None:
            async with self._changed:
                await self._changed.wait_for(condition)

        async with asyncio.TaskGroup() as group:
            waiting = {group.create_task(held()), group.create_task(self._terminal.wait_exit())}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
        return bool(condition())

    # --- the transcript -----------------------------------------------------------------------------------------------

    def _take(self, record: dict[str, Any]) -> None:
        kind = record.get("type")
        if kind == "session":
            self._ours = record.get("process") == self._process_id
        if not self._ours:
            return
        if kind == "prompt":
            self._seen.update(record["nonces"])
        elif kind == "state":
            self._state = ProcessState(record["state"])
        for event in events(record):
            self._emit(event)
