"""The screen as a second source beside the state file: which dialog is up, who looks, whether there is one at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from relay_runner.errors import ProviderError, TerminalError
from relay_runner.providers.base import Event, ProcessState
from relay_runner.providers.claude.dialog import Dialog, dialog_of
from relay_runner.providers.claude.screen import input_row
from relay_runner.providers.claude.turns import Tracker
from relay_runner.terminal.base import Terminal

log = logging.getLogger(__name__)

CAPTURE_S = 0.2
"""How often the screen is looked at while a dialog is up."""
DOUBT_LOOK_S = 2.0
DOUBT_S = 6.0
"""How long the screen may show an input row while the state file tells of a dialog."""


@dataclass(frozen=True, slots=True)
class Glance:
    """One look at the screen."""

    seen: bool
    """False: it was looked at just now, or cannot be."""
    dialog: Dialog | None = None


class Sight:
    """What one terminal shows."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._looked_at = float("-inf")

    def due(self) -> bool:
        """Say whether it is time for another look, and take note of it."""
        now = time.monotonic()
        if now - self._looked_at < CAPTURE_S:
            return False
        self._looked_at = now
        return True

    async def dialog(self) -> Glance:
        """Return the dialog on the screen."""
        if not self.due():
            return Glance(False)
        try:
            return Glance(True, dialog_of(await self._terminal.capture()))
        except (TerminalError, ProviderError) as error:
            log.info("cannot see the dialog: %s", error)
            return Glance(False)

    async def attended(self) -> bool:
        """Say whether a person looks; where that cannot be known, one may."""
        try:
            return await self._terminal.attended()
        except (TerminalError, ProviderError) as error:
            log.info("cannot tell whether a terminal is attached: %s", error)
            return True


class SecondLook:
    """Doubt a state file that tells of a dialog for long while the screen shows the input row, where none can be.

    What the file says then is left behind by a program that could not write it, or is not this program's at all.
    """

    def __init__(
        self,
        terminal: Terminal,
        tracker: Tracker,
        asking: Callable[[], bool],
        tell: Callable[[Iterable[Event]], None],
        says: Callable[[], str],
    ) -> None:
        """`asking` tells whether a question is held open, whose dialog may come later; `says` is the file's text."""
        self._terminal = terminal
        self._tracker = tracker
        self._asking = asking
        self._tell = tell
        self._says = says
        self._looked_at = 0.0
        self._whole_since: float | None = None
        """Since when every look found the input row."""

    async def tend(self) -> None:
        """Look at the screen now and then while a dialog is said to be open."""
        now = time.monotonic()
        if self._tracker.state is not ProcessState.WAITING or not self._tracker.started or self._asking():
            self._whole_since, self._looked_at = None, now
            return
        if now - self._looked_at < DOUBT_LOOK_S:
            return
        self._looked_at = now
        try:
            screen = await self._terminal.capture()
        except (TerminalError, ProviderError) as error:
            log.info("cannot see the screen: %s", error)
            return
        if input_row(screen) is None:
            self._whole_since = None
            return
        self._whole_since = self._whole_since or now
        if now - self._whole_since >= DOUBT_S and self._tracker.state is ProcessState.WAITING:
            log.warning(
                "Claude Code reports waiting (%s), but its screen shows no dialog: trusting the screen. State file: "
                "%s\nScreen:\n%s", self._tracker.detail, self._says(), screen.tail()
            )  # fmt: skip
            self._tell(self._tracker.doubt(time.time()))
            self._whole_since = None
