"""The agent's presence on the relay: the bus, what is published on it, and the HTTP backstop for when it is silent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from relay_runner.errors import (
    ClaimLost,
    ProtocolError,
    RelayRefused,
    RelayRunnerError,
    RelayUnauthorized,
    RelayUnavailable,
)
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.agents import HEARTBEAT_S, TransportState
from relay_runner.protocol.frames import Heartbeat, Hello, ServerFrame, StatusFrame, Superseded, Welcome
from relay_runner.protocol.messages import MessageQuery, MessageRecord
from relay_runner.relay.base import Bus, Relay
from relay_runner.runner import backoff
from relay_runner.runner.group import task_group
from relay_runner.runner.work import Work

log = logging.getLogger(__name__)

POLL_S = 20.0
RECONNECT_FIRST_S = 0.25
RECONNECT_LIMIT_S = 30.0
REFUSED_RETRY_S = 60.0
ANNOUNCE_S = 1.0
PAGE = 200


class SupersededByAnother(RelayRunnerError):
    """A newer instance of this agent took over."""

    code = "superseded"


class _Redial(RelayRunnerError):
    """The connection is to be made anew."""


class Presence:
    """Be on the bus: say hello, publish the status, beat, and pass on what comes."""

    def __init__(
        self,
        relay: Relay,
        *,
        agent_id: str,
        instance_id: str,
        work: Work,
        joined: asyncio.Event,
        hello: Callable[[], Hello],
        on_frame: Callable[[ServerFrame], None],
        on_backlog: Callable[[list[MessageRecord]], None],
        on_superseded: Callable[[str], None],
        on_welcome: Callable[[Welcome], None] = lambda welcome: None,
        on_look: Callable[[], Awaitable[None]] | None = None,
        heal: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._relay = relay
        self._agent_id = agent_id
        self._instance_id = instance_id
        self._work = work
        self._joined = joined
        self._hello = hello
        self._on_frame = on_frame
        self._on_backlog = on_backlog
        self._on_superseded = on_superseded
        self._on_welcome = on_welcome
        self._on_look = on_look
        """Looks for what else the bus may not have brought, whenever messages are looked for."""
        self._heal = heal
        """Gets another token where the relay refuses ours; None where nobody can."""
        self._changed = asyncio.Event()
        self._sent = asyncio.Event()
        self._redial = asyncio.Event()
        self._welcomed = asyncio.Event()
        self._fresh = asyncio.Event()
        """Set, and replaced by another one, when there is another token."""
        self.connected = False

    def redial(self) -> None:
        """Join the bus anew."""
        self._redial.set()

    def new_token(self) -> None:
        """Go on with another token: a connection keeps the one that it was opened with, and pauses end."""
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()
        self.redial()

    async def rejoin(self) -> None:
        """Join the bus anew, and return once the relay has welcomed us and knows our status."""
        self._welcomed.clear()
        self.redial()
        await self._welcomed.wait()

    async def announce(self) -> None:
        """Let others see the status as it is now, and return when it is sent; a relay that is away holds nobody up."""
        self._sent.clear()
        self.publish()
        if self.connected:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANNOUNCE_S):
                    await self._sent.wait()

    def publish(self) -> None:
        """Let others see the status as it is now; several changes at once are one."""
        self._changed.set()

    async def run(self) -> None:
        """Stay on the bus until superseded; a lost connection comes back with backoff and jitter."""
        delays = backoff.delays(RECONNECT_FIRST_S, RECONNECT_LIMIT_S)
        while True:
            fresh = self._fresh
            self._redial.clear()
            try:
                async with self._relay.connect(self._hello()) as bus:
                    delays = backoff.delays(RECONNECT_FIRST_S, RECONNECT_LIMIT_S)
                    await self._live(bus)
            except (SupersededByAnother, ClaimLost) as error:
                self._on_superseded(str(error))
                return
            except _Redial:
                log.info("joining again")
            except (RelayUnavailable, ProtocolError) as error:
                delay_s = next(delays)
                self._lost(str(error))
                log.warning("the relay cannot be reached: %s", error)
                log.debug("next try in %.1f s", delay_s)
                await self._pause(delay_s)
            except RelayUnauthorized as error:
                await self._refused(error, fresh)
            except RelayRefused as error:
                # A relay of another version, say: a person mends it, and we go on.
                self._lost(str(error))
                log.error("the relay refuses us: %s", error)
                await self._pause(REFUSED_RETRY_S)
            finally:
                self.connected = False

    async def _refused(self, error: RelayUnauthorized, fresh: asyncio.Event) -> None:
        """The token is not taken: have it replaced, and be silent until it is."""
        log.error("the relay does not take the token: %s", error)
        self._is(TransportState.UNAUTHORIZED, str(error))
        if self._heal is not None and error.status == 401:
            await self._heal()
            await fresh.wait()
            return
        with contextlib.suppress(TimeoutError):  # what lacks a scope may be given it without another token
            async with asyncio.timeout(REFUSED_RETRY_S):
                await fresh.wait()

    def _lost(self, why: str) -> None:
        """Note that the bus is gone; where HTTP still works, that is known better."""
        known = self._work.transport
        if known is None or known.state is not TransportState.HTTP_ONLY:
            self._is(TransportState.RECONNECTING, why)

    def _is(self, state: TransportState, detail: str | None = None) -> None:
        first = self._work.transport is None
        if self._work.reaches(state, time.time(), detail):
            if not (first and state is TransportState.CONNECTED):
                self._work.timeline.add(f"transport-{state}", detail=detail)
            self.publish()

    async def _pause(self, seconds: float) -> None:
        """Wait; an order to join again ends the wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._redial.wait()

    async def _live(self, bus: Bus) -> None:
        log.info("joined the relay as %s (%d deliveries taken over)", self._agent_id, len(bus.welcome.inherited))
        self._on_welcome(bus.welcome)
        self.connected = True
        self._is(TransportState.CONNECTED)
        async with task_group() as tasks:
            tasks.create_task(self._read(bus), name="bus-read")
            tasks.create_task(self._write(bus), name="bus-write")
            tasks.create_task(self._redialled(), name="bus-redial")
            await self.fetch_backlog()
            self._joined.set()
            self._welcomed.set()

    async def _redialled(self) -> None:
        await self._redial.wait()
        raise _Redial("asked to join again")

    async def _read(self, bus: Bus) -> None:
        async for frame in bus:
            if isinstance(frame, Superseded):
                raise SupersededByAnother(f"another runner ({frame.by}) took over agent {self._agent_id}")
            self._on_frame(frame)

    async def _write(self, bus: Bus) -> None:
        """Send what changes, and a heartbeat with the meta when that has news or nothing changed for a while."""
        told: dict[str, Any] | None = self._hello().meta
        while True:
            self._changed.clear()
            await bus.send(StatusFrame(status=self._work.status(time.time())))
            if (meta := self._hello().meta) != told:
                await bus.send(Heartbeat(at=time.time(), meta=meta))
                told = meta
            if not self._changed.is_set():
                self._sent.set()
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._changed.wait()
            except TimeoutError:
                told = None

    async def fetch_backlog(self) -> None:
        """Read every delivery that is open for us; the ones we know already are recognised."""
        after = 0
        while True:
            query = MessageQuery(
                recipient=agent_principal(self._agent_id), open=True, after=after, oldest_first=True, limit=PAGE
            )
            records = await self._relay.messages(query)
            self._on_backlog(records)
            if not records:
                break
            after = records[-1].message.id
        if self._on_look is not None:
            await self._on_look()

    async def backstop(self) -> None:
        """Say over HTTP that we live and look for messages, at the start and every 20 s: the bus may be silent or gone.

        One call says status, readiness and that we live. A token that is refused ends this until there is another.
        """
        await self._joined.wait()
        while True:
            fresh = self._fresh
            try:
                await self._say_and_look()
            except ClaimLost:
                self._on_superseded(f"another runner took over agent {self._agent_id}")
                return
            except RelayUnauthorized as error:
                log.error("the relay does not take the token: %s", error)
                self._is(TransportState.UNAUTHORIZED, str(error))
                await fresh.wait()
                continue
            except (RelayUnavailable, RelayRefused, ProtocolError) as error:
                log.warning("the relay cannot be asked: %s", error)
                if not self.connected:
                    self._is(TransportState.RECONNECTING, str(error))
            await asyncio.sleep(POLL_S)

    async def _say_and_look(self) -> None:
        status = self._work.status(time.time())
        await self._relay.put_status(self._agent_id, self._instance_id, status)
        self._work.timeline.confirmed(status.timeline)
        await self.fetch_backlog()
        transport = self._work.transport
        if not self.connected and transport is not None and transport.state is TransportState.RECONNECTING:
            self._is(TransportState.HTTP_ONLY, transport.detail)
