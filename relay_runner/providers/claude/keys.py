"""Answer at the dialog itself, by its keys: each is pressed only while the screen shows that very dialog.

A row is known by its label, never by its place. Where it has a digit, that is pressed; else the arrows go to it, and
Enter is pressed when the screen shows that it would take this row. In the first second of a dialog 2.1.332 takes no
key, and a digit only marks its row, so that what was typed for something else answers nothing: a key that answered
nothing is pressed again, after another look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from relay_runner.errors import ProviderUnsupported
from relay_runner.protocol.permissions import AT_THE_TERMINAL
from relay_runner.providers.claude.dialog import Dialog, Row, dialog_of
from relay_runner.providers.claude.screen import input_row
from relay_runner.terminal.base import Key, Screen, Terminal

KEYS_S = 10.0
"""How long keys may take to close a dialog."""
AGAIN_S = 2.5
"""How long one key may take to show an effect: a second one too many would be taken by whatever comes next."""
LOOK_S = 0.05
Same = Callable[[Dialog | None], bool]
"""Says whether a dialog is the one that is answered; None is one whose choices cannot be read."""
Over = Callable[[], Awaitable[bool]]


class DialogKeys:
    """The keys of one terminal's dialogs."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    async def choose(self, label: str, same: Same, over: Over) -> bool:
        """Take the row of this label in the dialog that `same` knows; say whether it is `over` then."""

        async def step(dialog: Dialog | None) -> None:
            row = dialog.row(label) if dialog is not None else None
            if dialog is None or row is None:
                raise ProviderUnsupported(f"its dialog has no row {label!r}", hint=AT_THE_TERMINAL)
            await self._towards(dialog, row)

        return await self._until_over(step, same, over)

    async def cancel(self, same: Same, over: Over) -> bool:
        """Press Escape in the dialog that `same` knows; say whether it is `over` then."""

        async def step(_: Dialog | None) -> None:
            await self._terminal.press(Key.ESCAPE)

        return await self._until_over(step, same, over)

    async def _towards(self, dialog: Dialog, row: Row) -> None:
        """Press the one key that takes the row, or that goes a step towards it."""
        if row.digit is not None:
            await self._terminal.type(row.digit)
        elif row.chosen:
            await self._terminal.press(Key.ENTER)
        else:
            now = next((place for place, one in enumerate(dialog.rows) if one.chosen), 0)
            await self._terminal.press(Key.DOWN if dialog.rows.index(row) > now else Key.UP)

    async def _until_over(self, step: Callable[[Dialog | None], Awaitable[None]], same: Same, over: Over) -> bool:
        deadline = time.monotonic() + KEYS_S
        while time.monotonic() < deadline:
            before = await self._terminal.capture()
            if input_row(before) is None and same(dialog_of(before)):
                await step(dialog_of(before))
            if await self._took(before, over):
                return True
        return await over()

    async def _took(self, before: Screen, over: Over) -> bool:
        """Wait until the last key shows an effect; say whether it is over."""
        until = time.monotonic() + AGAIN_S
        while time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
            if await over():
                return True
            now = await self._terminal.capture()
            if input_row(now) is None and dialog_of(now) != dialog_of(before):
                return False
        return False
