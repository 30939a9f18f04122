"""Who is told what: the changes of the store go to buses, event streams and watchers, and nobody waits for anybody.

Everything here is about the sockets of this very process; a second relay process has its own feed over the same store.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from relay_runner.protocol.commands import CommandState
from relay_runner.protocol.decisions import frame_of
from relay_runner.protocol.events import Event
from relay_runner.protocol.frames import CommandFrame, MessageNew, Superseded
from relay_runner.protocol.messages import State
from relay_runner.protocol.permissions import Permission
from relay_runner.protocol.wire import encode
from relay_runner.server.metrics import Metrics
from relay_runner.server.store.base import Change

MAX_FRAMES = 1000
MAX_BYTES = 16 * 1024 * 1024
MAX_EVENTS = 10_000

NORMAL = 1000
GOING_AWAY = 1001
SLOW = 1013
REPLACED = 4000
SUPERSEDED = 4001
UNAUTHORIZED = 4401

log = logging.getLogger(__name__)


class Outbox:
    """The frames that wait for one bus; one that cannot follow is told to close and to read its backlog later."""

    def __init__(self, agent_id: str, instance_id: str, bus_id: str, jti: str, addresses: frozenset[str]) -> None:
        self.agent_id = agent_id
        self.instance_id = instance_id
        self.bus_id = bus_id
        self.jti = jti
        self.addresses = addresses
        self.joined_seq: int | None = None
        self.closed: tuple[int, str] | None = None
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._ready = asyncio.Event()

    def offer(self, frame: bytes) -> bool:
        """Queue a frame; return False where this one overflowed the queue."""
        if self.closed is not None:
            return True
        if len(self._frames) >= MAX_FRAMES or (self._frames and self._size + len(frame) > MAX_BYTES):
            self.close(SLOW, "too slow: connect again and read the backlog")
            return False
        self._frames.append(frame)
        self._size += len(frame)
        self._ready.set()
        return True

    def close(self, code: int, reason: str, last: bytes | None = None) -> None:
        """End the bus after `last`; what waits is dropped, because it is in the store."""
        if self.closed is None:
            self.closed = (code, reason)
            self._frames.clear()
            if last is not None:
                self._frames.append(last)
            self._ready.set()

    async def take(self) -> bytes | None:
        """Return the next frame, or None when the bus is to close."""
        while not self._frames:
            if self.closed is not None:
                return None
            self._ready.clear()
            await self._ready.wait()
        frame = self._frames.popleft()
        self._size -= len(frame)
        return frame


class Subscription:
    """The events that wait for one stream."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.changed = asyncio.Event()
        self.lost = False

    def offer(self, event: Event) -> None:
        """Queue an event; a stream that is too far behind has to read the log again."""
        if len(self.events) >= MAX_EVENTS:
            self.events.clear()
            self.lost = True
        self.events.append(event)
        self.changed.set()


class Feed:
    """Passes changes on."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._buses: dict[str, list[Outbox]] = {}
        self._subscriptions: set[Subscription] = set()
        self._watchers: dict[int, set[asyncio.Event]] = {}

    @contextmanager
    def bus(self, outbox: Outbox) -> Iterator[None]:
        """Push to a bus inside the context."""
        self._buses.setdefault(outbox.agent_id, []).append(outbox)
        try:
            yield
        finally:
            rest = [other for other in self._buses[outbox.agent_id] if other is not outbox]
            if rest:
                self._buses[outbox.agent_id] = rest
            else:
                del self._buses[outbox.agent_id]

    @contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        """Collect events inside the context."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    @contextmanager
    def watching(self, message_id: int) -> Iterator[asyncio.Event]:
        """Return an event that is set whenever something about a message changed."""
        changed = asyncio.Event()
        self._watchers.setdefault(message_id, set()).add(changed)
        try:
            yield changed
        finally:
            rest = self._watchers[message_id]
            rest.discard(changed)
            if not rest:
                del self._watchers[message_id]

    def publish(self, changes: Sequence[Change]) -> None:
        """Pass on what one commit changed."""
        for change in changes:
            self._push(change)
            for subscription in self._subscriptions:
                subscription.offer(change.event)
            if self._watchers:
                self._wake(change.event)

    def _push(self, change: Change) -> None:
        event = change.event
        match event.type:
            case "message":
                self._metrics.messages += 1
            case "delivery" if change.message is not None and change.delivery is not None:
                if change.delivery.state is State.QUEUED:
                    self._push_message(change)
            case "command" if change.command is not None and change.command.state is CommandState.ACCEPTED:
                self._send(self._buses.get(change.target or "", ()), encode(CommandFrame(command=change.command)))
            case "permission" if change.permission is not None:
                self._push_decision(change.permission)
            case "agent" if event.data.get("action") == "joined":
                self._fence(event)
            case "token":
                self._drop(event.data["jti"])

    def _push_message(self, change: Change) -> None:
        message, delivery = change.message, change.delivery
        if message is None or delivery is None:
            return
        if delivery.recipient is not None:
            outboxes: Sequence[Outbox] = self._buses.get(delivery.recipient.removeprefix("agent:"), ())
        else:
            outboxes = [
                outbox
                for group in self._buses.values()
                for outbox in group
                if message.to in outbox.addresses and message.sender != f"agent:{outbox.agent_id}"
            ]
        if outboxes:
            self._send(outboxes, encode(MessageNew(message=message, delivery=delivery)))

    def _push_decision(self, permission: Permission) -> None:
        frame = frame_of(permission)
        if frame is not None:
            self._send(self._buses.get(permission.agent_id, ()), encode(frame))

    def _send(self, outboxes: Sequence[Outbox], frame: bytes) -> None:
        for outbox in outboxes:
            if outbox.offer(frame):
                self._metrics.pushed += 1
            else:
                self._metrics.dropped += 1
                log.warning("the bus of %s is too slow and was closed", outbox.agent_id)

    def _fence(self, event: Event) -> None:
        """Close the buses of the agent that joined before this one."""
        own = event.data["bus"]
        for outbox in self._buses.get(event.data["id"], ()):
            if outbox.bus_id == own:
                outbox.joined_seq = event.seq
            elif outbox.joined_seq is not None:
                if outbox.instance_id == event.data["instanceId"]:
                    outbox.close(REPLACED, "connected again")
                else:
                    frame = encode(Superseded(by=event.data["instanceId"]))
                    outbox.close(SUPERSEDED, "superseded", last=frame)

    def _drop(self, jti: str) -> None:
        for outbox in [outbox for group in self._buses.values() for outbox in group if outbox.jti == jti]:
            outbox.close(UNAUTHORIZED, "the token was revoked")
        for watchers in self._watchers.values():  # a stream looks then whether it may go on
            for changed in watchers:
                changed.set()

    def _wake(self, event: Event) -> None:
        data = event.data
        about = (data.get("id"), data.get("replyTo")) if event.type == "message" else (data.get("messageId"),)
        for message_id in about:
            for changed in self._watchers.get(message_id, ()) if message_id is not None else ():
                changed.set()
