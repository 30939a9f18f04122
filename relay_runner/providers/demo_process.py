"""One running demo agent.

Channel: the whole envelope as one bracketed paste, then Enter, in one step; only while the program is idle, shows its
input line, and that line is empty. An Enter that was swallowed is pressed once more, and only while the transcript
knows nothing of the message and the paste still stands on the input line. Its operations go in the same way, as lines
that begin with a slash; the transcript says when they are done.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay_runner.config import write_private
from relay_runner.errors import (
    ProviderError,
    ProviderExited,
    ProviderNotReady,
    ProviderRefused,
    ProviderUnsupported,
    TerminalError,
)
from relay_runner.protocol.envelope import sanitise
from relay_runner.providers.base import (
    CLEAR,
    COMPACT,
    INJECT,
    Answer,
    ContextUsed,
    Emit,
    Evidence,
    Held,
    HookCall,
    HookReply,
    Operation,
    ProcessState,
    Submission,
    SubmitResult,
    Submitted,
    Uncertain,
)
from relay_runner.providers.demo_context import ContextEstimate
from relay_runner.providers.demo_records import condense, events, find, input_line
from relay_runner.providers.snapshot import snapshot
from relay_runner.providers.tail import Follower, JsonLines
from relay_runner.terminal.base import ExitStatus, Key, Screen, Terminal

CHANNEL = "paste"
READY_S = 20.0
ENTER_S = 3.0
"""How long the program may take from Enter to its transcript before the screen is looked at."""
EVIDENCE_S = 10.0
FRESH_S = 0.05
"""How long a look at the input line is good for."""
OPERATIONS = {"compact": "compact", "clear": "clear", "inject": "context"}
"""What it can do beside turns, and the word for it after the slash."""


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
        self._context = ContextEstimate()
        self._seen: set[str] = set()
        self._operated: dict[str, dict[str, Any]] = {}
        self._answered: dict[str, str | None] = {}
        """By question, who answered: `relay`, `terminal`, None while it is open."""
        self._typing = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._looked_at = 0.0

    @property
    def state(self) -> ProcessState:
        """The state of the last `StateChanged`."""
        return self._state

    async def follow(self) -> None:
        """Turn the transcript into events; after an adoption the past is told as what is still true of it."""
        past = self._adopted
        while True:
            next_session = await self._follow(past)
            past = False
            self._file = self._file.with_name(f"{next_session}.jsonl")
            self._follower = Follower(JsonLines(self._file))

    async def _follow(self, past: bool) -> str:
        """Follow one session's transcript to its end; return the session that comes after it."""
        async for batch in self._follower.batches():
            records = [record for record in batch if isinstance(record, dict)]
            used = [found for record in records if (found := self._context.take(record, time.time())) is not None]
            for record in condense(records) if past else records:
                self._take(record)
            if used and self._ours:
                self._emit(ContextUsed(used[-1]))
            past = False
            async with self._changed:
                self._changed.notify_all()
            if self._ours and records and records[-1].get("type") == "cleared":
                return str(records[-1]["next"])
        raise AssertionError("a file is followed for ever")

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
        async with self._typing:
            return await self._submit(submission)

    async def _submit(self, submission: Submission) -> SubmitResult:
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
        """Lay the answer beside the transcript, and see in the transcript who answered."""
        if self._answered.get(permission_id, "unknown") is not None:
            return self._answered.get(permission_id) == "relay"
        lying = self._file.with_suffix(".answer")
        given = {"id": permission_id, "decision": answer.decision, "reason": answer.reason, "answers": answer.answers}
        write_private(lying, json.dumps(given).encode())
        self._follower.nudge()
        try:
            async with asyncio.timeout(EVIDENCE_S):
                await self._until(lambda: self._answered[permission_id] is not None)
        except TimeoutError:
            lying.unlink(missing_ok=True)
            raise ProviderRefused("the demo agent does not take the answer") from None
        return self._answered[permission_id] == "relay"

    async def leave(self, permission_id: str) -> None:
        """Do nothing: its own dialog asks anyway."""

    @property
    def operations(self) -> Mapping[str, Operation]:
        """What it can do beside turns."""
        return {"compact": COMPACT, "clear": CLEAR, "inject": INJECT}

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Enter the line that does it, while the program is idle; return when the transcript says that it is done."""
        if action not in OPERATIONS:
            raise ProviderUnsupported(f"the demo agent cannot {action}")
        id = uuid.uuid4().hex
        line = f"/{OPERATIONS[action]} {id}" + (f"\n{sanitise(str(args['content']))}" if action == "inject" else "")
        async with self._typing:
            held = Held(str(self.state)) if self.state is not ProcessState.IDLE else await self._held()
            if held is not None:
                raise ProviderRefused(f"the demo agent cannot {action} now: {held.reason}")
            await self._terminal.paste(line, then=Key.ENTER)
            self._follower.nudge()
            try:
                async with asyncio.timeout(EVIDENCE_S):
                    await self._until(lambda: id in self._operated)
            except TimeoutError:
                raise ProviderError(f"its transcript does not say that it could {action}") from None
        if id not in self._operated:
            raise ProviderExited(f"the demo agent ended before it could {action}")
        return {"session": self._operated.pop(id)["session"]}

    async def snapshot(self) -> str:
        """Return what the terminal shows."""
        return await snapshot(self._terminal)

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
        except TerminalError as error:
            return Held(str(error))
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
        elif kind == "operated" and record["id"]:
            self._operated[record["id"]] = record
        elif kind == "asked":
            self._answered[record["id"]] = None
        elif kind in ("answered", "withdrawn"):
            self._answered[record["id"]] = record.get("by", kind)
        elif kind == "state":
            self._state = ProcessState(record["state"])
        for event in events(record):
            self._emit(event)
