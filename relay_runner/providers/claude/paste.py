"""The second rung: paste into the input row, press Enter, and make sure of it. The first one for an operator's words.

What a paste changes (2.1.197): a tab becomes four spaces and final newlines are cut; the envelope keeps everything
else safe from being read as a command. Enter is never pressed unless the input row is on the screen: in a dialog it
would approve what is preselected. A person's half-typed line is waited for, then stashed, never submitted. A line
that no stash takes away may be a hint of the program that we do not know as one: then the text is pasted without its
Enter, and what the input row becomes tells: our text alone, or a person's line with ours in it, which is taken off.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterable
from enum import Enum, auto

from relay_runner.errors import ProviderRefused, TerminalError
from relay_runner.protocol.envelope import nonces as nonces_of
from relay_runner.providers.base import Held, SubmitResult, Submitted, Uncertain
from relay_runner.providers.claude.draft import UNWATCHED_S, Draft
from relay_runner.providers.claude.editor import Editor, Put
from relay_runner.providers.claude.screen import InputRow, box, input_row
from relay_runner.terminal.base import Key, Terminal

log = logging.getLogger(__name__)

ENTER_S = 2.0
"""How long an Enter may take to show an effect before the screen is looked at."""
EVIDENCE_S = 10.0
"""How long the evidence may take when the text has left the input row."""
CLEAR_S = 2.0
VIEW_S = 60.0
"""How long an idle program may show something else than its input row before it is led back to it."""
_LOOK_S = 0.05

CHANNEL = "paste"
DIALOG = Held("dialog open")
TYPING = Held("person typing")
UNSEEN = Held("the message does not show in the input row")
_KEPT = 50
_FOLDED = re.compile(r"\[Pasted text #\d+ \+(\d+) lines\]")
_FOLD_CHARS = 800
_TELLING = 12
"""So many characters of a message are not what a person types by chance."""
_FOLD_NEWLINES = 2


def _folds_to(text: str) -> int | None:
    """Return the number in the line that stands for a long paste, its newlines; None for one that is shown."""
    newlines = text.count("\n")
    return newlines if newlines > _FOLD_NEWLINES or len(text) > _FOLD_CHARS else None


def _squash(text: str) -> str:
    """Return a text without the blanks that the box puts in where it breaks a line."""
    return "".join(text.split())


def _holds(shown: str, text: str) -> bool:
    """Say whether what the input box shows is a part of this text, and nothing else.

    A long text is cut at either end, at times in the middle of a line (2.1.332).
    """
    part = _squash(shown).removeprefix("\u276f").removesuffix("\u2026")
    return len(part) >= min(_TELLING, len(_squash(text))) and part in _squash(text)


class Room(Enum):
    """Whether the input row is free for a message."""

    FREE = auto()
    DOUBTFUL = auto()
    """Something stands there that does not go away; it may be a hint."""


class Paste:
    """Pastes of one terminal."""

    def __init__(self, terminal: Terminal, editor: Editor | None = None) -> None:
        self._terminal = terminal
        self._editor = editor
        self._draft = Draft()
        self._hidden: tuple[float, float] | None = None
        """Since when an idle program shows no input row, and when that was last seen."""
        self._unseen_at = float("-inf")
        """When the editor put a text in that did not show."""
        self._hints: set[str] = set()
        """What stood in the input row and turned out to be no draft."""
        self._last = ("", "")
        """The nonce and the text of the last message."""
        self._folded: dict[str, int] = {}
        """By nonce, how the last long messages look in the input row, where a person's own paste may stand as well."""

    async def put(self, text: str, entered: Callable[[], bool], *, idle: bool = False) -> SubmitResult:
        """Put `text` in once; `entered` says whether the program's own records have it.

        An `idle` program may be led back to its input row by an Escape; in a running turn that would end it.
        """
        ours = self._remember(text)
        try:
            # What a runner that died put in and did not submit stands there still: it is replaced, or taken off.
            left = await self._shows(ours)
            if left:
                self._unseen_at = float("-inf")
            elif time.monotonic() - self._unseen_at < VIEW_S:
                # A row that looks empty may be one that is not drawn yet: a paste would stand beside what is in it,
                # and one Enter submit the message twice.
                return UNSEEN
            room = Room.FREE if left else await self._make_room(idle=idle)
        except TerminalError as error:
            return Held(str(error))
        if isinstance(room, Held):
            return room
        put = await self._edit(text, ours) if room is Room.FREE else Put.NOT
        if put is Put.REFUSED:
            return TYPING
        if put is Put.UNSEEN:
            self._unseen_at = time.monotonic()
            return UNSEEN
        if put is Put.SHOWN:
            await self._terminal.press(Key.ENTER)
        elif room is Room.FREE:
            if left and not await self._clear():
                return TYPING
            await self._terminal.paste(text, then=Key.ENTER)
        elif not await self._put_to_the_test(text, ours):
            return TYPING
        if await self._wait(entered, ENTER_S):
            return Submitted(CHANNEL)
        if await self._stands(ours):
            # The Enter was swallowed; pressed once more on an input row that was empty after all, it does nothing.
            await self._terminal.press(Key.ENTER)
        if await self._wait(entered, EVIDENCE_S):
            return Submitted(CHANNEL)
        return await self._give_up(ours, entered)

    async def _edit(self, text: str, ours: tuple[str, ...]) -> Put:
        """Put a message into the empty row as typed, where that can be done; nothing is submitted by it."""
        if self._editor is None or not ours:
            return Put.NOT
        return await self._editor.put(text, ours[0], lambda: self._alone(ours))

    async def _shows(self, nonces: Iterable[str]) -> bool:
        """Say whether one of these messages stands in the input box, however much of it is scrolled away."""
        shown = box(await self._terminal.capture())
        return any(f'nonce="{nonce}"' in shown for nonce in nonces)

    async def _alone(self, nonces: Iterable[str]) -> bool:
        """Say whether the last message, and nothing else, stands in the input box."""
        return self._last[0] in tuple(nonces) and _holds(box(await self._terminal.capture()), self._last[1])

    async def _clear(self) -> bool:
        await self._terminal.press(Key.CTRL_C)
        return await self._until_clear()

    async def _make_room(self, *, idle: bool) -> Held | Room:
        """Return what keeps a message from the input row; a person's line that was waited for is put aside."""
        row = await self._row()
        if row is None:
            if idle:
                await self._leave_view()
            else:
                self._hidden = None
            return DIALOG
        self._hidden = None
        if row.draft and row.text in self._hints:
            return Room.DOUBTFUL
        if self._draft.waits(row, time.monotonic()):
            return TYPING
        return Room.DOUBTFUL if row.draft and not await self._stash() else Room.FREE

    async def _leave_view(self) -> None:
        """Leave what an idle program shows instead of its input row (its transcript, say), where no person looks."""
        now = time.monotonic()
        since, seen_at = self._hidden or (now, now)
        if now - seen_at > UNWATCHED_S:
            since = now  # a person may have left it, and opened this one
        self._hidden = (since, now)
        if now - since < VIEW_S or await self._terminal.attended():
            return
        self._hidden = (now, now)
        log.warning("Claude Code is idle without an input row: pressing Escape; it shows:\n%s", await self._shown())
        await self._terminal.press(Key.ESCAPE)

    async def _shown(self) -> str:
        return (await self._terminal.capture()).tail()

    async def _put_to_the_test(self, text: str, ours: Iterable[str]) -> bool:
        """Paste without an Enter, and press it only when nothing but our text stands there then."""
        before = await self._row()
        await self._terminal.paste(text)
        after = before
        deadline = time.monotonic() + CLEAR_S
        while after == before and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_S)
            after = await self._row()
        if after is None or after == before:  # a dialog came up, which has taken the paste, or it was not taken at all
            return False
        if not self._stands_alone(after, text, ours):
            await self._terminal.press(*[Key.BACKSPACE] * (len(text) if _folds_to(text) is None else 1))
            return False
        if before is not None:
            self._hints.add(before.text)
        await self._terminal.press(Key.ENTER)
        return True

    def _stands_alone(self, row: InputRow, text: str, ours: Iterable[str]) -> bool:
        """Say whether the box holds our text from its first character to its last."""
        if _folds_to(text) is not None:
            return self._is_ours(row, ours) and not row.more
        return _squash(row.text + "".join(row.more)) == _squash(text)

    async def occupied(self) -> Held | None:
        """Return what keeps a command from the input row: a dialog, or anything that stands there."""
        row = await self._row()
        if row is None:
            return DIALOG
        return TYPING if row.draft else None

    async def shown(self) -> str | None:
        """Return the first line of what stands in the input row; None while there is no input row."""
        row = await self._row()
        return row.text if row is not None else None

    async def take_back(self, nonces: Iterable[str]) -> bool:
        """Clear our own text when an Escape put it back into the input row: an Enter would send it once more."""
        screen = await self._terminal.capture()
        row, wanted = input_row(screen), tuple(nonces)
        last_one = self._last[0] in wanted and _holds(box(screen), self._last[1])
        if not (row is not None and self._is_ours(row, wanted)) and not last_one:
            return False
        await self._terminal.press(Key.CTRL_C)
        await self._until_clear()
        return True

    def _remember(self, text: str) -> tuple[str, ...]:
        """Note how a message will look in the input row; return its nonce."""
        ours = nonces_of(text)[:1]
        self._last = (ours[0] if ours else "", text)
        if ours and (newlines := _folds_to(text)) is not None:
            self._folded[ours[0]] = newlines
        while len(self._folded) > _KEPT:
            del self._folded[next(iter(self._folded))]
        return ours

    def _is_ours(self, row: InputRow, nonces: Iterable[str]) -> bool:
        """Say whether one of these messages, and nothing else, stands in the input row."""
        wanted = set(nonces)
        if (folded := _FOLDED.fullmatch(row.text)) is not None:
            return int(folded[1]) in {self._folded.get(nonce) for nonce in wanted}
        return row.text.startswith("<relay-message ") and not wanted.isdisjoint(nonces_of(row.text)[:1])

    async def _stash(self) -> bool:
        """Put the draft aside; Claude Code puts it back after the next prompt. False: it still stands there."""
        await self._terminal.press(Key.CTRL_S)
        self._draft.forget()
        return await self._until_clear()

    async def _give_up(self, ours: Iterable[str], entered: Callable[[], bool]) -> SubmitResult:
        """Take our text off the input row again; raise `ProviderRefused` when provably nothing entered."""
        if await self._stands(ours):
            await self._terminal.press(Key.CTRL_C)
            if await self._until_clear() and not entered():
                raise ProviderRefused("the pasted message was not taken from the input row")
        return Submitted(CHANNEL) if entered() else Uncertain("it was pasted, but nothing shows what became of it")

    async def _stands(self, ours: Iterable[str]) -> bool:
        row = await self._row()
        return (row is not None and self._is_ours(row, ours)) or await self._alone(ours)

    async def _until_clear(self) -> bool:
        deadline = time.monotonic() + CLEAR_S
        while time.monotonic() < deadline:
            row = await self._row()
            if row is not None and not row.draft:
                return True
            await asyncio.sleep(_LOOK_S)
        return False

    async def _row(self) -> InputRow | None:
        return input_row(await self._terminal.capture())

    async def _wait(self, entered: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not entered():
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(_LOOK_S)
        return True
