"""One running terminal program, driven by its screen alone; the head of `generic` says how."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay_runner.errors import ProviderExited, ProviderNotReady, ProviderUnsupported, TerminalError
from relay_runner.protocol.envelope import body_text
from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import (
    NOT_FOUND,
    Answer,
    Degraded,
    Emit,
    Evidence,
    Held,
    HookCall,
    HookReply,
    Operation,
    ProcessState,
    StateChanged,
    Submission,
    SubmitResult,
    Submitted,
    TurnEnded,
    TurnStarted,
    Uncertain,
)
from relay_runner.providers.quiet import QuietScreen, answer, cursor_line
from relay_runner.providers.snapshot import snapshot
from relay_runner.terminal import processes
from relay_runner.terminal.base import ExitStatus, Key, Screen, Terminal

SOURCE = "screen"
CHANNEL = "paste"
FAST_S = 0.2
SLOW_S = 2.0
# Kernel functions that a process sleeps in while it works or waits for others, never while it waits for a key.
_WORKING_IN = frozenset({"hrtimer_nanosleep", "do_nanosleep", "do_wait"})


@dataclass
class _Turn:
    nonce: str
    said: str
    before: Screen
    interrupted: bool = False


class GenericProcess:
    """One running terminal program."""

    viewer: tuple[str, ...] = ()
    """Its terminal shows it."""

    def __init__(
        self,
        program: str,
        terminal: Terminal,
        emit: Emit,
        quiet: QuietScreen,
        ready_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._program = program
        self._terminal = terminal
        self._emit = emit
        self._quiet = quiet
        self._ready_s = ready_s
        self._clock = clock
        self._state = ProcessState.STARTING
        self._turn: _Turn | None = None
        self._looking = asyncio.Lock()
        self._nudged = asyncio.Event()
        self._idle = asyncio.Event()

    @property
    def state(self) -> ProcessState:
        """The state of the last `StateChanged`."""
        return self._state

    async def watch(self) -> None:
        """Look at the screen for ever: often while something happens, every `SLOW_S` while nothing does."""
        blind = False
        while self._terminal.alive():
            try:
                async with self._looking:
                    await self._look()
                if blind:
                    self._emit(Degraded(None))
                blind = False
            except TerminalError as error:
                if not blind:
                    self._emit(Degraded(str(error)))
                blind = True
            await self._pause()

    async def ready(self) -> None:
        """Return at the first quiet moment."""
        try:
            async with asyncio.timeout(self._ready_s), asyncio.TaskGroup() as group:
                waiting = {group.create_task(self._idle.wait()), group.create_task(self._terminal.wait_exit())}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in waiting:
                    task.cancel()
        except TimeoutError:
            raise ProviderNotReady(
                f"{self._program} did not come to rest within {self._ready_s:g} s",
                hint="generic needs a program that waits for input",
            ) from None
        if not self._terminal.alive():
            status = await self._terminal.wait_exit()
            raise ProviderExited(f"{self._program} ended: {status}", exit_code=status.code)

    async def obstacle(self, submission: Submission) -> Held | None:
        """Say what is known to hold a submission; the screen is read by `submit` itself."""
        if self._state is ProcessState.IDLE:
            return None
        return Held("dialog open" if self._state is ProcessState.WAITING else "busy")

    async def submit(self, submission: Submission) -> SubmitResult:
        """Put one message's body in; see the module's head."""
        async with self._looking:
            try:
                screen = await self._look()
            except TerminalError as error:
                return Held(str(error))
            if (held := await self.obstacle(submission)) is not None:
                return held
            if self._quiet.typed:
                return Held("person typing")
            text = body_text(submission.message)
            try:
                await self._terminal.paste(text, then=Key.ENTER)
            except ProviderExited:
                return Held("the program has ended")
            except TerminalError as error:
                return Uncertain(str(error))
            self._turn = _Turn(submission.nonce, text, screen)
            self._become(ProcessState.BUSY)
            self._emit(TurnStarted(submission.nonce, SOURCE, (submission.nonce,)))
            self._nudged.set()
            return await self._verify(screen, text)

    async def find(self, nonce: str) -> Evidence:
        """Return nothing: a program without records cannot tell."""
        return NOT_FOUND

    async def hook(self, call: HookCall) -> HookReply:
        """Refuse: the program knows nothing of us."""
        return HookReply(status=404)

    async def interrupt(self) -> None:
        """Press Ctrl-C if the program works on something."""
        if self._state is ProcessState.BUSY:
            if self._turn is not None:
                self._turn.interrupted = True
            await self._terminal.press(Key.CTRL_C)
            self._nudged.set()

    async def answer(self, permission_id: str, answer: Answer) -> bool:
        """Refuse: it asks nothing that could be answered from elsewhere."""
        raise ProviderUnsupported("generic asks no permissions that can be answered from elsewhere")

    async def leave(self, permission_id: str) -> None:
        """Do nothing: its own dialog asks anyway."""

    @property
    def operations(self) -> Mapping[str, Operation]:
        """None."""
        return {}

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Refuse: nothing is known of the program."""
        raise ProviderUnsupported(f"generic cannot {action}")

    async def snapshot(self) -> str:
        """Return what the terminal shows."""
        return await snapshot(self._terminal)

    async def quit(self) -> None:
        """Say that there is no more input, if the program waits for some."""
        if self._state is ProcessState.IDLE and not self._quiet.typed:
            await self._terminal.press(Key.CTRL_D)

    def explain_exit(self, status: ExitStatus, screen: Screen | None) -> str:
        """Return one line for a person."""
        last = screen.tail(1).strip() if screen is not None else ""
        return f"{self._program} ended: {status}" + (f" (last line: {last})" if status.code and last else "")

    # --- the screen ---------------------------------------------------------------------------------------------------

    async def _look(self) -> Screen:
        """Capture once, and tell what that means."""
        screen = await self._terminal.capture()
        state = self._quiet.feed(self._clock(), screen, working=working(self._terminal.process.pid))
        if state is ProcessState.IDLE and self._state is not state:
            turn, self._turn = self._turn, None
            if turn is not None:
                outcome = Outcome.INTERRUPTED if turn.interrupted else Outcome.COMPLETED
                result = answer(turn.before, screen, turn.said, self._quiet.prompt or "")
                self._emit(TurnEnded(outcome, SOURCE, (turn.nonce,), result))
            self._become(ProcessState.IDLE)
        elif state is ProcessState.WAITING or (self._state is not ProcessState.STARTING and self._left_prompt(state)):
            self._become(state)
        return screen

    def _left_prompt(self, state: ProcessState) -> bool:
        """Say whether a busy program is really at work: one at whose prompt a person types only looks so."""
        if state is not ProcessState.BUSY or self._state is not ProcessState.IDLE:
            return state is not ProcessState.IDLE
        return not self._quiet.at_prompt or working(self._terminal.process.pid)

    def _become(self, state: ProcessState) -> None:
        if state is not self._state:
            self._state = state
            self._emit(StateChanged(state, SOURCE))
        if state is ProcessState.IDLE:
            self._idle.set()

    async def _pause(self) -> None:
        still = self._quiet.since_change(self._clock())
        restful = self._state is ProcessState.IDLE and still > 2 * self._quiet.quiet_s
        fast = min(FAST_S, self._quiet.quiet_s / 4)
        try:
            async with asyncio.timeout(min(SLOW_S, still / 4) if restful else fast):
                await self._nudged.wait()
            self._nudged.clear()
        except TimeoutError:
            return

    async def _verify(self, before: Screen, text: str) -> SubmitResult:
        """Return what the screen says of a paste: it moved on, it still stands there, or nothing happened at all."""
        repaired = False
        moment = min(FAST_S, self._quiet.quiet_s / 4)
        deadline = self._clock() + max(1.0, 2 * self._quiet.quiet_s)
        try:
            while self._clock() < deadline:
                await asyncio.sleep(moment)
                screen = await self._terminal.capture()
                stands = self._stands(screen, text)
                if (screen.lines, screen.cursor) != (before.lines, before.cursor) and not stands:
                    return Submitted(CHANNEL)
                if stands and not repaired and deadline - self._clock() < self._quiet.quiet_s:
                    # It stood there all the time: the Enter behind it was swallowed.
                    await self._terminal.press(Key.ENTER)
                    repaired = True
        except ProviderExited:
            return Submitted(CHANNEL)
        except TerminalError as error:
            return Uncertain(str(error))
        return Uncertain("the screen does not show that anything was taken")

    def _stands(self, screen: Screen, text: str) -> bool:
        """Say whether the pasted text provably still stands, unsubmitted, behind the prompt."""
        prompt = (self._quiet.prompt or "").strip()
        row = cursor_line(screen).whole.strip()
        last = text.rstrip("\n").rpartition("\n")[2].strip()
        return bool(prompt and last) and row == f"{prompt} {last}"


def working(pid: int) -> bool:
    """Say whether a process is seen not to wait for a key: it runs, sleeps by the clock, or put a child in front."""
    found = processes.stat(pid)
    if found is None:
        return False
    if found.state in "RD" or (found.foreground > 0 and found.foreground != found.group):
        return True
    try:
        return Path(f"/proc/{pid}/wchan").read_text(encoding="ascii", errors="replace") in _WORKING_IN
    except OSError:
        return False  # not ours to read: the screen has to do
