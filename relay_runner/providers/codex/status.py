"""What the server says of the agent's thread: idle, active, what it waits for, put away. A pure value with a memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_END_S = 1.0
"""How long the thread may be idle without its turn's end before the listed turns are asked."""
QUIET_S = 30.0
"""How long a busy thread may say nothing before its status is asked for."""


class Status:
    """One thread's status, and since when it is so; `now` goes in."""

    def __init__(self) -> None:
        self.kind: str | None = None
        """`active`, `idle`, `systemError`, `notLoaded`; None before anything is known."""
        self.flags: tuple[str, ...] = ()
        """What an active thread waits for."""
        self.unloaded = False
        """The server put the thread away; it has to be resumed before anything goes in."""
        self._notified = False
        """A notification told it since the thread is being joined: that is newer than the answer."""
        self._idle_at: float | None = None
        self._heard_at = 0.0

    @property
    def active(self) -> bool:
        """Whether the thread works."""
        return self.kind == "active"

    def joining(self) -> None:
        """Take note that the thread is about to be started, resumed or joined again."""
        self._notified = False

    def joined(self, status: Any, now: float) -> None:
        """Take in what the answer to that says."""
        self.unloaded, self._heard_at = False, now
        if not self._notified:
            self._set(status, now)

    def told(self, status: Any, now: float) -> None:
        """Take in what a notification says."""
        self._notified = True
        self._set(status, now)

    def read(self, thread: Mapping[str, Any] | None, now: float) -> None:
        """Take in the thread as it was asked for; None: the server does not know it any more."""
        self._heard_at = now
        self._set(thread.get("status") if thread is not None else {"type": "notLoaded"}, now)

    def heard(self, now: float) -> None:
        """Take note that the thread said anything."""
        self._heard_at = now

    def begins(self) -> None:
        """Take note that a turn begins: whatever was told of being idle is older."""
        self._idle_at = None

    def idle_long(self, now: float) -> bool:
        """Say whether it is idle for so long that the end of a turn that is still open must have been lost."""
        return self._idle_at is not None and now - self._idle_at >= NO_END_S

    def quiet(self, now: float) -> bool:
        """Say whether it said nothing for so long that it has to be asked, if it is thought to be busy."""
        return now - self._heard_at >= QUIET_S

    def _set(self, status: Any, now: float) -> None:
        status = status if isinstance(status, dict) else {}
        self.kind = str(status.get("type"))
        self.flags = tuple(status.get("activeFlags") or ())
        self._idle_at = None if self.active else self._idle_at or now
        self.unloaded = self.unloaded or self.kind == "notLoaded"
