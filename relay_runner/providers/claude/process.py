"""One running Claude Code under this runner."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from relay_runner.errors import (
    ProviderError,
    ProviderExited,
    ProviderRefused,
    ProviderUnsupported,
    TerminalError,
)
from relay_runner.protocol.messages import Timing
from relay_runner.providers.base import (
    NOT_FOUND,
    Answer,
    Emit,
    Event,
    Evidence,
    Held,
    HookCall,
    HookReply,
    LaunchPlan,
    LaunchSpec,
    ProcessState,
    StateChanged,
    Submission,
    SubmitResult,
    Submitted,
    TurnState,
)
from relay_runner.providers.claude.ending import explain_exit, last_evidence
from relay_runner.providers.claude.health import Health, Part
from relay_runner.providers.claude.home import ClaudeHome
from relay_runner.providers.claude.mentions import defuse_mentions
from relay_runner.providers.claude.paste import Paste
from relay_runner.providers.claude.records import Records
from relay_runner.providers.claude.rewake import Given, Rewake
from relay_runner.providers.claude.start import Start, introduction
from relay_runner.providers.claude.turns import NO_ANSWER, Tracker
from relay_runner.terminal.base import ExitStatus, Key, Screen, Terminal

FAST_S = 0.05
SLOW_S = 0.2
"""How often the state file and the transcript are looked at: a few stats, cheap."""
INTERRUPT_S = 3.0
REWAKE = "rewake"
PERMISSION_PROMPT = "permission prompt"


class ClaudeProcess:
    """See `providers.base.Process`."""

    viewer: tuple[str, ...] = ()
    """Its terminal shows it."""

    def __init__(
        self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, home: ClaudeHome, *, adopted: bool
    ) -> None:
        self._agent_id = spec.agent_id
        self._adopted = adopted
        self._terminal = terminal
        self._emit = emit
        self._health = Health(terminal, emit)
        self._changed = asyncio.Event()
        self._tracker = Tracker(adopted=adopted)
        self._records = Records(home, spec.cwd, plan, terminal.process, self._tracker, adopted=adopted)
        self._rewake = Rewake()
        self._paste = Paste(terminal)
        self._folders = {spec.cwd}
        self._submitting = False
        self._start = Start(spec, terminal, self._tracker, self._health, self._tell, self._changed, adopted=adopted)

    @property
    def state(self) -> ProcessState:
        """The state of the last `StateChanged`."""
        return self._tracker.state

    async def watch(self) -> None:
        """Follow the program's own records until cancelled; what cannot be seen for a while is told, and no end."""
        if not self._adopted:
            self._emit(StateChanged(self.state, "runner"))
        while True:
            self._look()
            await self._see_to_silence()
            resting = self.state is ProcessState.IDLE and not self._submitting
            await asyncio.sleep(SLOW_S if resting else FAST_S)

    async def _see_to_silence(self) -> None:
        """Take back what an Escape put into the input row; a screen that was lost is looked at until it is back."""
        silent = self._tracker.silent()
        if not silent and not self._health.lacks(Part.SCREEN):
            return
        try:
            taken_back = await self._paste.take_back(silent)
        except (TerminalError, ProviderExited) as error:
            self._health.blind(error)
            return
        self._health.whole(Part.SCREEN)
        if taken_back:
            self._tell(self._tracker.take_back(time.time()))

    def close(self) -> None:
        """Let go of the program's poller, so that it finds the next runner."""
        self._rewake.close()

    async def ready(self) -> None:
        """Return when messages can go in; see `Process.ready`."""
        await self._start.ready()

    # --- messages in --------------------------------------------------------------------------------------------------

    async def obstacle(self, submission: Submission) -> Held | None:
        """Say what is known to hold a submission; the screen is read just before a paste."""
        self._look()
        return self._hold(submission.timing is Timing.STEER)

    async def submit(self, submission: Submission) -> SubmitResult:
        """Put one message in, at most once; see `Process.submit`."""
        self._submitting = True
        try:
            return await self._climb(submission)
        finally:
            self._submitting = False

    async def _climb(self, submission: Submission) -> SubmitResult:
        """Go up the ladder: the poller, then the paste; an operator's words are pasted."""
        self._look()
        if self.state is ProcessState.BUSY and submission.timing is Timing.INTERRUPT:
            await self.interrupt()
        steers = submission.timing is Timing.STEER
        if (held := self._hold(steers)) is not None:
            return held
        text = submission.text
        if not submission.operator:
            text = defuse_mentions(text, self._folders)
        if not submission.operator or self.state is ProcessState.BUSY:
            if await self._rewake.give(submission.nonce, text) is Given.GRANTED:
                return Submitted(REWAKE)
            # Nothing entered. Waiting for the poller took time in which a person may have begun something.
            self._look()
            if (held := self._hold(steers)) is not None:
                return held
        return await self._paste.put(text, lambda: self._entered(submission.nonce))

    def _hold(self, steers: bool) -> Held | None:
        """Return why nothing can go in now."""
        match self.state:
            case ProcessState.IDLE:
                return None
            case ProcessState.BUSY if steers:
                return None
            case ProcessState.WAITING:
                return Held("dialog open")
        return Held(str(self.state), retry_s=0.5)

    def _entered(self, nonce: str) -> bool:
        """Say whether the program's own records have the message."""
        self._look()
        return self._tracker.has(nonce)

    # --- evidence -----------------------------------------------------------------------------------------------------

    async def find(self, nonce: str) -> Evidence:
        """Ask the transcripts of this process's sessions what became of a nonce."""
        while True:
            self._look()
            if (ended := self._tracker.settled(nonce)) is not None:
                return Evidence(True, ended.source, TurnState.ENDED, ended.outcome, ended.result, ended.reason)
            carried, alive = self._tracker.carries(nonce), self._terminal.alive()
            if carried and alive:
                return Evidence(True, "hook", TurnState.RUNNING)
            turn = await asyncio.to_thread(self._records.find, nonce)
            if turn is not None and turn.ended:
                return turn.evidence()
            if not alive:
                return last_evidence(turn, seen=carried)
            if self._records.written(time.time()):
                break
            await asyncio.sleep(FAST_S)
        if turn is None:
            return NOT_FOUND
        return turn.cut_off(NO_ANSWER) if self.state is ProcessState.IDLE else turn.evidence()

    async def hook(self, call: HookCall) -> HookReply:
        """Answer one hook call."""
        match call.name:
            case "rewake":
                return await self._rewake.poll(call)
            case "rewake-taken":
                return self._rewake.taken(call)
        now = time.time()
        if folder := call.payload.get("cwd"):
            self._folders.add(Path(str(folder)))
        self._take(self._records.follow(call.payload, now))
        self._tell(self._tracker.hook(call.name, call.payload, now))
        self._health.whole(Part.HOOKS)
        if call.name == "SessionStart" and call.payload.get("source") != "resume":
            return HookReply(introduction(self._agent_id))
        return HookReply()

    def _look(self) -> None:
        """Take in what the program's records say now."""
        if self._take(self._records.look(time.time())):
            self._health.whole(Part.RECORDS)

    def _take(self, events: Iterable[Event]) -> bool:
        """Tell what comes out of the records; False when they cannot be read now: hooks stand in for them."""
        try:
            self._tell(events)
        except ProviderError as error:
            self._health.lost(Part.RECORDS, str(error))
            return False
        return True

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self._emit(event)
            self._changed.set()

    # --- orders -------------------------------------------------------------------------------------------------------

    async def interrupt(self) -> None:
        """Press Escape in a running turn, and see it end; raise `ProviderRefused` when it does not."""
        self._look()
        for _ in range(2):
            if self.state is ProcessState.IDLE:
                return
            if self.state is not ProcessState.BUSY and self._tracker.detail != PERMISSION_PROMPT:
                raise ProviderRefused("a dialog is open", hint="answer it in the terminal")
            await self._terminal.press(Key.ESCAPE)
            if await self._until(lambda: self.state is ProcessState.IDLE, INTERRUPT_S):
                return
        raise ProviderRefused("Claude Code did not stop its turn", hint="press Escape in the terminal")

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(FAST_S)
            self._look()
        return True

    async def answer(self, permission_id: str, answer: Answer) -> bool:
        """Refuse: it asks nothing that could be answered from elsewhere."""
        raise ProviderUnsupported("claude asks no permissions that can be answered from elsewhere")

    async def leave(self, permission_id: str) -> None:
        """Do nothing: its own dialog asks anyway."""

    @property
    def operations(self) -> frozenset[str]:
        """None."""
        return frozenset()

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raise: none of the program's own operations is offered yet."""
        raise ProviderUnsupported(f"claude cannot {action} from outside yet")

    async def quit(self) -> None:
        """Ask the program to end: on SIGTERM it runs its last hooks, writes everything down, and is gone in 100 ms."""
        if self._terminal.alive():
            os.kill(self._terminal.process.pid, signal.SIGTERM)

    def explain_exit(self, status: ExitStatus, screen: Screen | None) -> str:
        """Return one line for a person: why the program ended."""
        return explain_exit(status, screen)
