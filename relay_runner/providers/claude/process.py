"""One running Claude Code under this runner."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from relay_runner.errors import ProviderError, ProviderExited, ProviderRefused, TerminalError
from relay_runner.providers.base import (
    Answer,
    Emit,
    Event,
    Evidence,
    Held,
    HookCall,
    HookReply,
    LaunchPlan,
    LaunchSpec,
    Operation,
    ProcessState,
    StateChanged,
    Submission,
    SubmitResult,
)
from relay_runner.providers.claude import asks, profile, reminder
from relay_runner.providers.claude.closing import Closing
from relay_runner.providers.claude.context import ContextWatch
from relay_runner.providers.claude.editor import Editor
from relay_runner.providers.claude.ending import explain_exit
from relay_runner.providers.claude.evidence import find
from relay_runner.providers.claude.failures import Limits
from relay_runner.providers.claude.health import HOOKLESS, Health, Part
from relay_runner.providers.claude.home import ClaudeHome
from relay_runner.providers.claude.injections import Injections
from relay_runner.providers.claude.ladder import Ladder
from relay_runner.providers.claude.mode import Mode
from relay_runner.providers.claude.operations import COMPACT, OPERATIONS, TYPED, CommandEvidence, Operations
from relay_runner.providers.claude.paste import Paste
from relay_runner.providers.claude.permissions import Permissions
from relay_runner.providers.claude.records import Records
from relay_runner.providers.claude.rewake import Rewake
from relay_runner.providers.claude.sight import SecondLook
from relay_runner.providers.claude.spending import Spending
from relay_runner.providers.claude.start import Start, introduction, restart_notice
from relay_runner.providers.claude.state_file import ASKING
from relay_runner.providers.claude.turns import Tracker
from relay_runner.providers.snapshot import snapshot
from relay_runner.terminal.base import ExitStatus, Key, Screen, Terminal

FAST_S = 0.05
SLOW_S = 0.2
"""How often the state file and the transcript are looked at: a few stats, cheap."""
INTERRUPT_S = 3.0
WRITE_S = 1.0
"""How long the end of a turn may take to be written down before the program is ended all the same."""
COMPACTIONS = {"PreCompact": False, "PostCompact": True}
"""The hooks around a compaction, also of one that the program begins by itself, and whether it is over by them."""
ENTERING_S = 5.0
"""How long an operation waits for a message that is on its way in."""


class ClaudeProcess:
    """See `providers.base.Process`."""

    viewer: tuple[str, ...] = ()
    """Its terminal shows it."""

    def __init__(
        self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, home: ClaudeHome, *, adopted: bool
    ) -> None:
        self._agent_id = spec.agent_id
        self._owed = spec.owed
        self._unread = profile.unread(spec)
        self._compacting_since = float("-inf")
        self._restarted = plan.resumed and not adopted
        self._adopted = adopted
        self._terminal = terminal
        self._emit = emit
        self._mode = Mode(spec.approval_mode)
        self._health = Health(terminal, emit)
        self._changed = asyncio.Event()
        self._gone_at: float | None = None
        """When the program was first found dead."""
        self._tracker = Tracker(adopted=adopted)
        self._injections = Injections(spec.agent_dir)
        self._evidence = CommandEvidence()
        self._context = ContextWatch(resumed=plan.resumed or adopted)
        self._spending = Spending(recalling=adopted)
        self._limits = Limits()
        self._records = Records(
            home,
            spec.cwd,
            plan,
            terminal.process,
            self._tracker,
            adopted=adopted,
            watchers=(self._injections.line, self._evidence.line, self._context.line, self._spending.line),
            on_recalled=self._spending.recalled,
        )
        if (plan.resumed or adopted) and (transcript := self._records.file()) is not None:
            self._spending.begin(transcript)
        self._closing = Closing(emit, self._spending, self._records.file, self._tracker.turn_of)
        self._rewake = Rewake()
        self._paste = Paste(terminal, Editor(spec.agent_dir, terminal, spec.control.provider_session_id))
        self._operations = Operations(
            terminal,
            self._paste,
            self._tracker,
            self._records,
            self._injections,
            self._evidence,
            self.look,
            self._compacting,
        )
        self._ladder = Ladder(self._tracker, self._rewake, self._paste, self)
        self._permissions = Permissions(
            spec, terminal, self._tracker, lambda event: self._tell((event,)), self.look, adopted=adopted
        )
        self._second_look = SecondLook(
            terminal, self._tracker, lambda: self._permissions.held, self._tell, self._records.state_text
        )
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
            self.look()
            await self._permissions.tend()
            await self._second_look.tend()
            await self._see_to_silence()
            resting = self.state is ProcessState.IDLE and not (self._ladder.submitting or self._closing.waiting)
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
        """Tell what is held back; let go of the poller and the open questions, so that they find the next runner."""
        self._closing.close()
        self._rewake.close()
        self._permissions.close()

    async def ready(self) -> None:
        """Return when messages can go in; see `Process.ready`."""
        await self._start.ready()

    # --- messages in --------------------------------------------------------------------------------------------------

    async def obstacle(self, submission: Submission) -> Held | None:
        """Say what is known to hold a submission; the screen is read just before a paste."""
        self.look()
        return self._ladder.hold(submission)

    async def submit(self, submission: Submission) -> SubmitResult:
        """Put one message in, at most once; see `Process.submit`."""
        return await self._ladder.submit(submission)

    # --- evidence -----------------------------------------------------------------------------------------------------

    async def find(self, nonce: str) -> Evidence:
        """Ask the transcripts of this process's sessions what became of a nonce."""
        found = await find(nonce, self._tracker, self._records, self._terminal, self.look, lambda: self._gone_at)
        return self._limits.evidence(found, time.time())

    async def hook(self, call: HookCall) -> HookReply:
        """Answer one hook call."""
        match call.name:
            case "rewake":
                return await self._rewake.poll(call)
            case "rewake-taken":
                return self._rewake.taken(call)
        now = time.time()
        if call.name == "StatusLine":
            self._spending.price(call.payload, now)
            self._limits.status_line(call.payload)
            self._tell(self._context.status_line(call.payload, now))
            return HookReply()
        self._take(self._records.follow(call.payload, now))
        if call.name == reminder.HOOK and not call.payload.get("agent_id"):
            more = await reminder.before_the_end(self._owed, self._tracker.ending(call.payload))
            if more is not None:
                self._tracker.goes_on(now)
                return HookReply(more)
        self._evidence.hook(call.name, call.payload)
        self._tell(self._mode.hook(call.payload))
        self._tell(self._tracker.hook(call.name, call.payload, now))
        if not self._tracker.prompt_hooks.missed:  # SessionStart comes where http hooks do not
            self._health.whole(Part.HOOKS)
        if call.name == "SessionStart":
            self._tell(self._context.session(str(call.payload.get("source")), now, call.payload.get("model")))
        if call.name in COMPACTIONS:
            self._compacting_since = now
            self._compacting(COMPACTIONS[call.name])
        if call.name == asks.HOOK:
            return await self._permissions.hook(call)
        if call.name == "SessionStart":
            return HookReply(self._at_start(call.payload.get("source")))
        if call.name == "UserPromptSubmit" and not call.payload.get("agent_id"):
            return HookReply(self._injections.give(now))
        return HookReply()

    def _at_start(self, source: object) -> Mapping[str, Any] | None:
        """Return what the model is told at the beginning of a session, or when it goes on in a new program."""
        restarted, self._restarted = self._restarted, False
        if source != "resume":
            return introduction(self._agent_id, self._unread)
        return restart_notice() if restarted else None

    def look(self) -> None:
        """Take in what the program's records say now."""
        now = time.time()
        if self._gone_at is None and not self._terminal.alive():
            self._gone_at = now
        if self._take(self._records.look(now)):
            self._tell(self._context.look(now))
            self._health.whole(Part.RECORDS)
        idle_since = self._tracker.idle_since() or float("-inf")
        if self._tracker.doing and not self.occupied_by and idle_since >= self._compacting_since:
            self._compacting(True)  # one that comes to nothing is followed by no hook
        if self._tracker.prompt_hooks.overdue(now):
            self._health.lost(Part.HOOKS, HOOKLESS)

    def _take(self, events: Iterable[Event]) -> bool:
        """Tell what comes out of the records; False when not all of them can be read: hooks stand in for those."""
        told: list[Event] = []
        trouble: ProviderError | None = None
        try:
            for event in events:
                told.append(event)  # what came before the trouble is kept
        except ProviderError as error:
            trouble = error
        self._tell(told)
        if trouble is not None:
            self._health.lost(Part.RECORDS, str(trouble))
        return trouble is None

    def _tell(self, events: Iterable[Event]) -> None:
        now = time.time()
        told = [self._limits.mark(event, now) for event in events]
        for event in told:
            self._permissions.before(event)
        self._closing.tell(told, now)
        if told:
            self._changed.set()

    def _compacting(self, over: bool) -> None:
        self._tracker.doing = None if over else COMPACT
        self._tell(self._context.compacting(time.time(), over=over))

    # --- orders -------------------------------------------------------------------------------------------------------

    async def interrupt(self) -> None:
        """Press Escape in a running turn, and see it end; raise `ProviderRefused` when it does not."""
        self.look()
        for _ in range(2):
            if self.state is ProcessState.IDLE:
                return
            if self.state is not ProcessState.BUSY and self._tracker.detail not in ASKING:
                raise ProviderRefused("a dialog is open", hint="answer it in the terminal")
            self._permissions.interrupting()
            self._tracker.stopping()
            await self._terminal.press(Key.ESCAPE)
            if await self._until(lambda: self.state is ProcessState.IDLE, INTERRUPT_S):
                return
        self._permissions.interrupting(failed=True)
        raise ProviderRefused("Claude Code did not stop its turn", hint="press Escape in the terminal")

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(FAST_S)
            self.look()
        return True

    async def answer(self, permission_id: str, answer: Answer) -> bool:
        """Put an answer to an open permission in; see `Process.answer`."""
        return await self._permissions.answer(permission_id, answer)

    async def leave(self, permission_id: str) -> None:
        """Let the program's own dialog ask alone."""
        await self._permissions.leave(permission_id)

    @property
    def occupied_by(self) -> str | None:
        """The operation that has the input row now."""
        return self._operations.running

    @property
    def operations(self) -> Mapping[str, Operation]:
        """What `operate` takes."""
        return OPERATIONS

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do one of the program's own operations; see `Process.operate`."""
        if action in TYPED and not await self._until(self._ladder.settled, ENTERING_S):
            raise ProviderRefused("a message is on its way in", hint="try again")
        return await self._operations.operate(action, args)

    async def snapshot(self) -> str:
        """Return the state, the state file that it was read from, and the screen beside it."""
        detail = f" ({self._tracker.detail})" if self._tracker.detail else ""
        said = f"{self.state}{detail}; state file: {self._records.state_text()}"
        return await snapshot(self._terminal, said)

    async def quit(self) -> None:
        """Ask the program to end, once what it did last is written down: on SIGTERM it is gone in 100 ms.

        It writes its transcript up to 100 ms after a turn's end, and what is not written then never is (2.1.197).
        """
        await self._until(lambda: not (self._terminal.alive() and self._closing.waiting), WRITE_S)
        if self._terminal.alive():
            os.kill(self._terminal.process.pid, signal.SIGTERM)

    def explain_exit(self, status: ExitStatus, screen: Screen | None) -> str:
        """Return one line for a person: why the program ended."""
        return explain_exit(status, screen)
