"""What an operation may use of the running program, and what keeps messages and operations out of each other's way.

An operation that works on the whole thread (a compaction, a review) would end the running turn without a word
(0.169.0), and a message that came in between would be refused or lost. So it takes the thread for itself: it is refused
while a turn runs, and messages wait while it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from relay_runner.errors import ProviderRefused, ProviderUnsupported
from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import LaunchSpec, ProcessState, TurnEnded
from relay_runner.providers.codex.client import Client, Refused
from relay_runner.providers.codex.memo import Memo
from relay_runner.providers.codex.session import Session

ABSENT = ("unknown variant", "requires experimentalApi")
"""How the server refuses what it does not have."""
OVER = "over"
REFUSED = "Codex refused it: "
Notices = asyncio.Queue[tuple[str, Mapping[str, Any]]]


class Room:
    """One agent's Codex, as its operations see it."""

    def __init__(
        self,
        spec: LaunchSpec,
        memo: Memo,
        *,
        connected: Callable[[], tuple[Client, Session] | None],
        state: Callable[[], ProcessState],
        enter: Callable[[Session], None],
    ) -> None:
        self.spec = spec
        self.memo = memo
        self._enter = enter
        self.doing: str | None = None
        """The operation that has the thread for itself: messages wait."""
        self.next_turn: dict[str, Any] = {}
        """What the next turn/start is given beside its message."""
        self.limits: Mapping[str, Any] | None = None
        """The rate limits that were told last."""
        self.usage: Mapping[str, Any] | None = None
        """The tokens that were told last."""
        self._connected = connected
        self._state = state
        self._gate = asyncio.Lock()
        self._listeners: list[Notices] = []
        self._ends: list[asyncio.Queue[TurnEnded]] = []

    # --- asking -------------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The thread that is the agent's; refused while there is no connection."""
        return self._pair()[1]

    @property
    def client(self) -> Client:
        """The connection; refused while there is none."""
        return self._pair()[0]

    @property
    def state(self) -> ProcessState:
        """Whether a turn runs."""
        return self._state()

    async def call(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the server; what it lacks is unsupported, what it refuses is refused."""
        try:
            return await self.client.call(method, params or {})
        except Refused as error:
            if any(word in str(error) for word in ABSENT):
                raise ProviderUnsupported(f"this version of Codex has no {method}") from error
            raise ProviderRefused(f"{REFUSED}{error}") from error

    async def of_thread(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the server about the agent's thread."""
        return await self.call(method, {"threadId": self.session.thread_id, **params})

    def _pair(self) -> tuple[Client, Session]:
        if (pair := self._connected()) is None:
            raise ProviderRefused("there is no connection to Codex just now", hint="try again in a moment")
        return pair

    def enter(self, joined: Session) -> None:
        """Go on with another thread; nothing is known of what it used."""
        self.usage = None
        self._enter(joined)

    # --- one at a time ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def submitting(self) -> AsyncIterator[None]:
        """Put a message in, and keep operations out meanwhile."""
        async with self._gate:
            yield

    @asynccontextmanager
    async def alone(self, doing: str) -> AsyncIterator[None]:
        """Have the thread for oneself; refused while a turn runs, and messages wait meanwhile."""
        if self.doing is not None:
            raise ProviderRefused(f"Codex is {self.doing}", hint="try again when that is done")
        async with self._gate:
            if self.state is not ProcessState.IDLE:
                hint = "wait until it is idle, or interrupt it"
                raise ProviderRefused(f"Codex is {self.state}: that would end its turn", hint=hint)
            self.doing = doing
            try:
                yield
            finally:
                self.doing = None

    # --- hearing ------------------------------------------------------------------------------------------------------

    def heard(self, method: str, params: Mapping[str, Any]) -> None:
        """Take in one notification about the thread or the account."""
        match method:
            case "account/rateLimits/updated":
                self.limits = params.get("rateLimits")
            case "thread/tokenUsage/updated":
                self.usage = params.get("tokenUsage")
        for listener in self._listeners:
            listener.put_nowait((method, params))

    def ended(self, end: TurnEnded) -> None:
        """Take in the end of a turn."""
        for waiting in self._ends:
            waiting.put_nowait(end)

    def over(self) -> None:
        """Take in that nothing more is to come: whoever waits waits in vain."""
        self.ended(TurnEnded(Outcome.INTERRUPTED, OVER, reason="Codex, or its runner, has ended"))
        self.heard(OVER, {})

    @contextmanager
    def listening(self) -> Iterator[Notices]:
        """Collect the notifications that come from now on."""
        listener: Notices = asyncio.Queue()
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)

    @contextmanager
    def ends(self) -> Iterator[asyncio.Queue[TurnEnded]]:
        """Collect the ends of turns that come from now on; also one that is found out later."""
        waiting: asyncio.Queue[TurnEnded] = asyncio.Queue()
        self._ends.append(waiting)
        try:
            yield waiting
        finally:
            self._ends.remove(waiting)
