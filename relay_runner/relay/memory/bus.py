"""The bus of a relay in memory: a queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from msgspec.structs import replace

from relay_runner.errors import ClaimLost, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.frames import ClientFrame, ErrorFrame, Heartbeat, Hello, ServerFrame, StatusFrame, Welcome
from relay_runner.relay.memory.hub import Hub
from relay_runner.relay.memory.members import Frames


class MemoryBus:
    """Implements `relay.base.Bus` over a queue."""

    def __init__(self, hub: Hub, hello: Hello, frames: Frames, welcome: Welcome) -> None:
        self._hub = hub
        self._hello = hello
        self._frames = frames
        self._welcome = welcome

    @property
    def welcome(self) -> Welcome:
        """What the relay answered to our hello."""
        return self._welcome

    async def send(self, frame: ClientFrame) -> None:
        """Take one frame; raise `RelayUnavailable` where the bus was closed."""
        try:
            member = self._hub.members.current(self._hello.agent_id, self._hello.instance_id)
        except ClaimLost as error:
            raise RelayUnavailable("the bus ended: superseded") from error
        if member.frames is not self._frames:
            raise RelayUnavailable("the bus ended")
        if isinstance(frame, StatusFrame):
            self._hub.members.put_status(self._hello.agent_id, self._hello.instance_id, frame.status)
        elif isinstance(frame, Heartbeat) and frame.meta:
            member.hello = replace(member.hello, meta=frame.meta)

    async def __aiter__(self) -> AsyncIterator[ServerFrame]:
        while True:
            frame = await self._next()
            if frame is None:
                raise RelayUnavailable("the bus ended")
            if isinstance(frame, ErrorFrame) and frame.fatal:
                raise RelayUnauthorized(frame.message, code=frame.code)
            yield frame

    async def _next(self) -> ServerFrame | None:
        """Return the next frame; the clock is looked at whenever a lease or a delay ends meanwhile."""
        while True:
            due = self._hub.mail.next_due()
            try:
                async with asyncio.timeout(None if due is None else max(0.01, due - self._hub.clock())):
                    return await self._frames.get()
            except TimeoutError:
                self._hub.sweep()
