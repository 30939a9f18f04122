"""The first rung: hand a message to the background poller that runs as a hook of Claude Code (`hook_client.rewake`).

The poller waits at the control server. It gets an offer and must ask for the grant before it writes anything, so an
offer that was not granted can be taken back, and then provably nothing entered. What was granted is in the hands of
the program's own hook. All of it happens on the event loop: granting and taking back cannot cross each other.
"""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum

from relay_runner.providers.base import HookCall, HookReply
from relay_runner.terminal import processes

GRANT_S = 5.0
"""How long a poller may take to ask for the grant after it was offered a message."""
ARRIVAL_S = 1.0
"""How long to wait for a poller that is about to come: it is started anew at every prompt and turn's end."""

ALIVE_CHECK_S = 0.1


class Given(StrEnum):
    """What became of an offer."""

    GRANTED = "granted"
    NOBODY = "nobody"
    """No poller is connected."""
    TAKEN_BACK = "taken-back"
    """The poller went away, or did not ask for the grant in time: nothing entered."""


class _Poller:
    def __init__(self, call: HookCall) -> None:
        self.gone = call.gone
        self.pid = call.payload.get("pid")
        self.offer: asyncio.Future[HookReply] = asyncio.get_running_loop().create_future()


class Rewake:
    """The poller of one process, and the one message that is on offer to it."""

    def __init__(self) -> None:
        self._poller: _Poller | None = None
        self._arrived = asyncio.Event()
        self._nonce: str | None = None
        self._granted: asyncio.Future[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether a poller waits right now."""
        return self._poller is not None and not self._poller.gone.is_set()

    async def poll(self, call: HookCall) -> HookReply:
        """Answer a poller when there is a message for it, or let it go when it hung up or was replaced."""
        self._dismiss()
        poller = self._poller = _Poller(call)
        self._arrived.set()
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(call.gone.wait())
            await asyncio.wait((poller.offer, gone), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
        if self._poller is poller:
            self._poller = None
            self._arrived.clear()
        return poller.offer.result() if poller.offer.done() else HookReply()

    def taken(self, call: HookCall) -> HookReply:
        """Grant the message on offer to the poller that asks for it; deny what was taken back."""
        granted = self._granted
        mine = granted is not None and not granted.done() and call.payload.get("nonce") == self._nonce
        if granted is not None and mine:
            granted.set_result(None)
        return HookReply({"granted": mine})

    async def give(self, nonce: str, text: str) -> Given:
        """Offer one message; return when it is granted, or when nothing of it can enter any more."""
        if not await self._poller_there():
            return Given.NOBODY
        poller = self._poller
        assert poller is not None
        self._nonce = nonce
        self._granted = asyncio.get_running_loop().create_future()
        poller.offer.set_result(HookReply({"nonce": nonce, "text": text}))
        try:
            return await _outcome(self._granted, poller)
        finally:
            self._nonce = self._granted = None

    def close(self) -> None:
        """Let the poller go; it comes back to the next runner."""
        self._dismiss()

    async def _poller_there(self) -> bool:
        try:
            async with asyncio.timeout(ARRIVAL_S):
                while not self.connected or self._poller is None or self._poller.offer.done():
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def _dismiss(self) -> None:
        if self._poller is not None and not self._poller.offer.done():
            self._poller.offer.set_result(HookReply())


async def _outcome(granted: asyncio.Future[None], poller: _Poller) -> Given:
    """Wait until the poller asked for the grant, or never will."""
    deadline = time.monotonic() + GRANT_S
    while time.monotonic() < deadline:
        await asyncio.wait((granted,), timeout=min(ALIVE_CHECK_S, GRANT_S))
        if granted.done():
            return Given.GRANTED
        if poller.pid is not None and processes.identity(int(poller.pid)) is None:
            break
    return Given.TAKEN_BACK
