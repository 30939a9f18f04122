"""A message goes into the input row through the program's own way to an editor, Ctrl-G: as typed, and byte for byte.

What is pasted with more than two line breaks is shown to the model as text that its user did not write (2.1.332), loses
its tabs and last line breaks, and a line in it that is the path of an image becomes that image, a peer's too (2.1.197).
What an editor wrote is none of that, of any length. `editor_client` is the editor; it submits nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from pathlib import Path

import msgspec

from relay_runner.config import write_private
from relay_runner.protocol.envelope import sanitise
from relay_runner.providers.claude.editor_client import DONE, OFFER, OWN_VISUAL, REFUSED, TAKEN, WITHDRAWN
from relay_runner.terminal.base import Key, Terminal

PROGRAM = "relay-runner-editor"
MARK = "editor-of"
"""Holds the id of the process that has our editor: pressing Ctrl-G in another one would open somebody's own."""
CLAIM_S = 5.0
"""How long an editor may take to start, on a busy machine."""
PUT_S = 5.0
"""How long it may take to write; and the program, to show what was written."""
AGAIN_S = 600.0
"""How long after a press that opened no editor the next is tried."""
LOOK_S = 0.02
_KEY = "ctrl+g"
_BINDINGS = "keybindings.json"


class Put(Enum):
    """What came of a message."""

    SHOWN = auto()
    """It stands in the input row, alone."""
    NOT = auto()
    """There is no editor: nothing was put anywhere."""
    REFUSED = auto()
    """A person's draft stands there."""
    UNSEEN = auto()
    """It may stand in the input row, and does not show."""


class Editor:
    """The way through the editor of one process."""

    def __init__(self, folder: Path, terminal: Terminal, process: str) -> None:
        self._folder = folder
        self._terminal = terminal
        self._process = process
        self._closed_until = float("-inf")

    async def put(self, text: str, nonce: str, shown: Callable[[], Awaitable[bool]]) -> Put:
        """Put a message into the empty input row; `shown` says whether it stands there."""
        if time.monotonic() < self._closed_until or not self._ours():
            return Put.NOT
        for name in (TAKEN, DONE, REFUSED, WITHDRAWN):
            (self._folder / name).unlink(missing_ok=True)
        offer = msgspec.json.encode({"nonce": nonce, "text": sanitise(text)})
        write_private(self._folder / OFFER, offer)
        try:
            await self._terminal.press(Key.CTRL_G)
            await self._until(lambda: not self._there(OFFER), CLAIM_S)
        finally:
            withdrawn = self._withdraw()
        if withdrawn:
            self._closed_until = time.monotonic() + AGAIN_S
            return Put.NOT
        await self._until(lambda: self._there(DONE) or self._there(REFUSED), PUT_S)
        if self._there(REFUSED):
            return Put.REFUSED
        if await self._shows(shown):
            (self._folder / DONE).unlink(missing_ok=True)
            return Put.SHOWN
        self._closed_until = time.monotonic() + AGAIN_S
        return Put.UNSEEN

    def _ours(self) -> bool:
        try:
            return (self._folder / MARK).read_text(encoding="utf-8") == self._process
        except OSError:
            return False

    def _withdraw(self) -> bool:
        """Take an offer back that nobody claimed; the key may still be on its way, and must open nothing."""
        try:
            (self._folder / OFFER).rename(self._folder / WITHDRAWN)
        except FileNotFoundError:
            return False
        return True

    def _there(self, name: str) -> bool:
        return (self._folder / name).exists()

    async def _shows(self, shown: Callable[[], Awaitable[bool]]) -> bool:
        deadline = time.monotonic() + PUT_S
        while time.monotonic() < deadline:
            if await shown():
                return True
            await asyncio.sleep(LOOK_S)
        return False

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return
            await asyncio.sleep(LOOK_S)


def variables(environ: Mapping[str, str], *more: Mapping[str, str]) -> dict[str, str]:
    """Return what makes ours the program's editor, and keeps the user's own for them; a settings file may name it."""
    own = next((one["VISUAL"] for one in (*more, environ) if one.get("VISUAL")), "")
    return {"VISUAL": PROGRAM, OWN_VISUAL: own}


def prepare(folder: Path, process: str, config_dir: Path) -> None:
    """Note that this process has our editor, unless the user gave its key another meaning."""
    try:
        bound = _KEY in (config_dir / _BINDINGS).read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        bound = False
    write_private(folder / MARK, b"" if bound else process.encode())
