"""How a message goes in: the poller first, then a paste; an operator's words are pasted, as a person's would be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from relay_runner.errors import TerminalError
from relay_runner.protocol.messages import Timing
from relay_runner.providers.base import Held, ProcessState, Submission, SubmitResult, Submitted
from relay_runner.providers.claude.mentions import pasted
from relay_runner.providers.claude.paste import Paste
from relay_runner.providers.claude.rewake import Given, Rewake
from relay_runner.providers.claude.turns import Tracker

REWAKE = "rewake"
ENTERING_S = 30.0
"""How long what the poller was granted may take to become a prompt; after that it was lost with its poller."""


class Session(Protocol):
    """What the ladder needs of the process that it belongs to."""

    def look(self) -> None:
        """Take in what the program's records say now."""
        ...

    async def interrupt(self) -> None:
        """Stop the running turn."""
        ...

    @property
    def occupied_by(self) -> str | None:
        """The operation that has the input row now."""
        ...


class Ladder:
    """The rungs of one process."""

    def __init__(self, tracker: Tracker, rewake: Rewake, paste: Paste, session: Session) -> None:
        self._tracker = tracker
        self._rewake = rewake
        self._paste = paste
        self._session = session
        self._entering: str | None = None
        """The last message that was given to the poller; its prompt may be a moment away."""
        self._granted_at = float("-inf")
        self.submitting = False

    def settled(self) -> bool:
        """Say whether no message is between us and its turn."""
        if self._entering is not None and time.monotonic() - self._granted_at < ENTERING_S:
            return not self.submitting and self._tracker.has(self._entering)
        return not self.submitting

    def hold(self, submission: Submission) -> Held | None:
        """Return why nothing can go in now."""
        if (operation := self._session.occupied_by) is not None:
            return Held(operation, retry_s=0.2)
        match self._tracker.state:
            case ProcessState.IDLE:
                return None
            case ProcessState.BUSY if submission.timing is Timing.STEER:
                return None
            case ProcessState.WAITING:
                return Held("dialog open")
        return Held(str(self._tracker.state), retry_s=0.5)

    async def submit(self, submission: Submission) -> SubmitResult:
        """Put one message in, at most once; see `Process.submit`."""
        self.submitting = True
        try:
            return await self._climb(submission)
        finally:
            self.submitting = False

    async def _climb(self, submission: Submission) -> SubmitResult:
        self._session.look()
        if self._tracker.state is ProcessState.BUSY and submission.timing is Timing.INTERRUPT:
            try:
                await self._session.interrupt()
            except TerminalError as error:
                return Held(str(error))
        if (held := self.hold(submission)) is not None:
            return held
        text = submission.text
        if not submission.operator or self._tracker.state is ProcessState.BUSY:
            if await self._rewake.give(submission.nonce, submission.text) is Given.GRANTED:
                self._entering, self._granted_at = submission.nonce, time.monotonic()
                return Submitted(REWAKE)
            if not submission.operator:
                text = await asyncio.to_thread(pasted, submission)  # a megabyte of slashes takes a moment
            # Nothing entered. Waiting for the poller took time in which a person may have begun something.
            self._session.look()
            if (held := self.hold(submission)) is not None:
                return held
        idle = self._tracker.state is ProcessState.IDLE
        return await self._paste.put(text, self._entered(submission.nonce), idle=idle)

    def _entered(self, nonce: str) -> Callable[[], bool]:
        """Return a question: do the program's own records have the message?"""

        def entered() -> bool:
            self._session.look()
            return self._tracker.has(nonce)

        return entered
