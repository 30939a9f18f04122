"""What of the program cannot be seen now: told once when it begins, and once when everything is whole again."""

from __future__ import annotations

import logging
from enum import StrEnum

from relay_runner.errors import ProviderExited, TerminalError
from relay_runner.providers.base import Degraded, Emit
from relay_runner.terminal.base import Screen, Terminal

log = logging.getLogger(__name__)

HOOKLESS = (
    "hooks: a prompt arrived without its hook, so permissions can be answered only in its terminal; "
    "check for a proxy, disableAllHooks or a policy"
)


class Part(StrEnum):
    """What the program is watched by."""

    HOOKS = "hooks"
    RECORDS = "records"
    SCREEN = "screen"


class Health:
    """The parts that are lost, with the reason; every other part stands in for them meanwhile."""

    def __init__(self, terminal: Terminal, emit: Emit) -> None:
        self._terminal = terminal
        self._emit = emit
        self._lost: dict[Part, str] = {}

    def lacks(self, part: Part) -> bool:
        """Say whether a part is lost."""
        return part in self._lost

    def lost(self, part: Part, reason: str) -> None:
        """Note that a part cannot be seen; its first reason is told, the next ones are not news."""
        if part not in self._lost:
            self._lost[part] = reason
            log.warning("%s", reason)
            self._tell()

    def whole(self, part: Part) -> None:
        """Note that a part can be seen."""
        if self._lost.pop(part, None) is not None:
            self._tell()

    def blind(self, error: TerminalError | ProviderExited) -> None:
        """Note that the screen cannot be seen, unless that is because the program has ended."""
        if self._terminal.alive():
            self.lost(Part.SCREEN, str(error))

    async def screen(self) -> Screen | None:
        """Return what the terminal shows, or None while it cannot be seen."""
        try:
            screen = await self._terminal.capture()
        except (TerminalError, ProviderExited) as error:
            self.blind(error)
            return None
        self.whole(Part.SCREEN)
        return screen

    def _tell(self) -> None:
        self._emit(Degraded("; ".join(self._lost.values()) or None))
