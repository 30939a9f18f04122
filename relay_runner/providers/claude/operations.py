"""What Claude Code can be told to do with its conversation from outside: compact it, clear it, put words into it.

`/compact` and `/clear` are typed like a person would, and only where that can harm nobody: the program is idle, its
input row is empty, and no message of ours is on its way in. Enter is pressed when the row shows the command and
nothing else. What came of it is the program's own word: its SessionStart hook, its transcript, its state file.

Not offered, because (2.1.197) each of them opens a dialog or writes the user's settings: `/model`, `/effort`, modes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from relay_runner.errors import ProviderExited, ProviderRefused, ProviderUnsupported
from relay_runner.protocol.envelope import sanitise_line
from relay_runner.providers import base
from relay_runner.providers.base import Operation, ProcessState
from relay_runner.providers.claude.injections import Injections
from relay_runner.providers.claude.paste import Paste
from relay_runner.providers.claude.records import Records
from relay_runner.providers.claude.turns import Tracker
from relay_runner.terminal.base import Key, Terminal

COMPACT, CLEAR, INJECT = "compact", "clear", "inject"
OPERATIONS: Mapping[str, Operation] = {
    COMPACT: Operation(base.COMPACT.summary, {"instructions": "what the summary must keep"}),
    CLEAR: base.CLEAR,
    INJECT: base.INJECT,
}
TYPED = frozenset({COMPACT, CLEAR})
MAX_INSTRUCTIONS = 500
"""More would be folded by the input row, and could not be told from a person's paste."""
IDLE_S = 1.0
"""How long a program that is not idle may be about to be."""
SHOWN_S = 3.0
"""How long the input row may take to show what was put there."""
BEGIN_S = 5.0
"""How long the program may take to begin with a command after its Enter."""
OVER_S = 1.5
"""How long an idle program may take to write down what became of a command."""
SLOW_S = 30.0
"""The same where it has begun to compact: on a very busy machine that is long done before anything says so."""
LOOK_S = 0.03
SHORT = 30
"""A row that shows more than so many characters of a command shows only the first line of a long one."""

_STDOUT = re.compile(r"<local-command-(stdout|stderr)>(.*?)(?:</local-command-\1>|$)", re.DOTALL)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_COMPACTED = "Compacted"


class CommandEvidence:
    """What the program's own records say of its commands."""

    def __init__(self) -> None:
        self.compactions = 0
        """How often the conversation was compacted, by whomever."""
        self.said: str | None = None
        """What the program answered to its last command."""
        self.compacting = False
        """Whether a compaction has begun and was not heard of since."""

    def line(self, line: Any) -> None:
        """Take a line of the transcript."""
        if not isinstance(line, dict) or line.get("isSidechain"):
            return
        if line.get("subtype") == "compact_boundary":
            self.compactions += 1
            self.compacting = False
        elif line.get("type") == "user" or line.get("subtype") == "local_command":
            message = line.get("message")
            content = message.get("content") if isinstance(message, dict) else line.get("content")
            if isinstance(content, str) and (found := _STDOUT.match(content)):
                self.said = sanitise_line(_COLOUR.sub("", found[2]))

    def hook(self, name: str, payload: Mapping[str, Any]) -> None:
        """Take a hook: after a compaction the session starts once more."""
        if name == "PreCompact":
            self.compacting = True
        elif name == "PostCompact" or (name == "SessionStart" and payload.get("source") == "compact"):
            self.compactions += 1
            self.compacting = False


class Operations:
    """The operations of one process; one at a time."""

    def __init__(
        self,
        terminal: Terminal,
        paste: Paste,
        tracker: Tracker,
        records: Records,
        injections: Injections,
        evidence: CommandEvidence,
        look: Callable[[], None],
        on_compacting: Callable[[bool], None] = lambda over: None,
    ) -> None:
        """`on_compacting` is told when a compaction begins, and that it is over."""
        self._terminal = terminal
        self._paste = paste
        self._tracker = tracker
        self._records = records
        self._injections = injections
        self._look = look
        self._on_compacting = on_compacting
        self._lock = asyncio.Lock()
        self._evidence = evidence
        self.running: str | None = None
        """The command that is being typed or carried out: nothing else may be typed meanwhile."""

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do one operation; see `Process.operate`."""
        match action:
            case "inject":
                return {"count": self._injections.add(args), "waiting": len(self._injections)}
            case "compact":
                return await self._alone(action, self._compact(_instructions(args)))
            case "clear":
                return await self._alone(action, self._clear())
        there = ", ".join(sorted(OPERATIONS))
        raise ProviderUnsupported(f"claude cannot {action} from outside", hint=f"it can {there}")

    # --- the two commands ---------------------------------------------------------------------------------------------

    async def _alone(self, action: str, work: Any) -> Mapping[str, Any]:
        if self._lock.locked():
            work.close()
            raise ProviderRefused(f"it is busy with {self.running or 'another operation'}", hint="try again")
        async with self._lock:
            self.running = action
            try:
                result: Mapping[str, Any] = await work
                return result
            finally:
                self.running = None

    async def _compact(self, instructions: str) -> Mapping[str, Any]:
        if self._records.file() is None:
            raise ProviderRefused("there is nothing to compact: nothing was said in this session")
        before, began_at = self._evidence.compactions, time.time()
        self._evidence.compacting = False
        self._on_compacting(False)
        try:
            await self._type(f"/compact {instructions}".rstrip())
            await self._until_compacted(before, began_at)
        finally:
            self._on_compacting(True)
        await self._until(lambda: self._tracker.state is ProcessState.IDLE, OVER_S)
        return {"sessionId": self._tracker.session_id, "tookS": round(time.time() - began_at, 3)}

    async def _until_compacted(self, before: int, began_at: float) -> None:
        while self._evidence.compactions == before:
            await self._step()
            if self._evidence.said and self._evidence.said.startswith(_COMPACTED):
                return
            if self._evidence.said:
                raise ProviderRefused(f"Claude Code says: {self._evidence.said}")
            if self._over(began_at) and self._evidence.compactions == before:
                raise ProviderRefused(f"Claude Code did not compact: {self._evidence.said or 'it does not say why'}")

    def _over(self, began_at: float) -> bool:
        """Say whether the program is idle for so long that nothing more comes of the command."""
        idle_since = self._tracker.idle_since()
        if idle_since is None:
            return False
        patience_s = SLOW_S if self._evidence.compacting else BEGIN_S if idle_since < began_at else OVER_S
        return time.time() - max(idle_since, began_at) > patience_s

    async def _clear(self) -> Mapping[str, Any]:
        before = self._tracker.session_id
        await self._type("/clear")
        if not await self._until(lambda: self._tracker.session_id != before, BEGIN_S):
            raise ProviderRefused("Claude Code did not begin a new session", hint="type /clear in the terminal")
        await self._until(lambda: self._tracker.state is ProcessState.IDLE, OVER_S)
        return {"sessionId": self._tracker.session_id, "previousSessionId": before}

    # --- typing -------------------------------------------------------------------------------------------------------

    async def _type(self, text: str) -> None:
        """Type a command into the empty input row; raise `ProviderRefused` when provably nothing was done."""
        self._look()
        if not await self._until(lambda: self._tracker.state is ProcessState.IDLE, IDLE_S):
            raise ProviderRefused(f"Claude Code is {self._tracker.state}", hint="interrupt it, or try again when idle")
        if (hold := await self._paste.occupied()) is not None:
            raise ProviderRefused(f"{hold.reason} at its terminal", hint="try again when the input row is empty")
        self._evidence.said = None
        await self._terminal.paste(text)
        if not await self._shows(text):
            await self._take_off(text)
            raise ProviderRefused("somebody types at its terminal", hint="try again when the input row is empty")
        for _ in range(2):
            await self._terminal.press(Key.ENTER)
            if await self._left(text):
                return
        await self._take_off(text)
        raise ProviderRefused("Claude Code did not take the command", hint=f"type {text} in the terminal")

    async def _shows(self, text: str) -> bool:
        """Say whether the input row comes to show the command, or the beginning of a long one, and nothing else."""
        deadline = time.monotonic() + SHOWN_S
        while time.monotonic() < deadline:
            row = await self._paste.shown()
            if row is not None and (row == text or (len(row) > SHORT and text.startswith(row))):
                return True
            await asyncio.sleep(LOOK_S)
        return False

    async def _left(self, text: str) -> bool:
        """Say whether the command leaves the input row."""
        deadline = time.monotonic() + SHOWN_S
        while time.monotonic() < deadline:
            row = await self._paste.shown()
            if not row or not text.startswith(row):
                return True
            await asyncio.sleep(LOOK_S)
        return False

    async def _take_off(self, text: str) -> None:
        """Take the command off the input row again, and leave what a person typed before it."""
        row = await self._paste.shown()
        if row is not None and row.endswith(text):
            await self._terminal.press(*[Key.BACKSPACE] * len(text))

    async def _step(self) -> None:
        if not self._terminal.alive():
            raise ProviderExited("Claude Code ended during the operation")
        await asyncio.sleep(LOOK_S)
        self._look()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            await self._step()
        return True


def _instructions(args: Mapping[str, Any]) -> str:
    text = args.get("instructions") or ""
    if not isinstance(text, str):
        raise ProviderRefused("instructions is a text")
    line = sanitise_line(text, limit=MAX_INSTRUCTIONS + 1)
    if len(line) > MAX_INSTRUCTIONS:
        raise ProviderRefused(f"the instructions are longer than {MAX_INSTRUCTIONS} characters")
    return line
