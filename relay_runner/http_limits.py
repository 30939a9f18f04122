"""What a connection to a server of ours may take before anybody knows whose it is: bytes, time, its share of them all.

uvicorn bounds none of it. A connection is

    head ─► body ─► answer ─► idle ─► head ...      and closed at the end of the time that its phase has

A head is counted as it arrives, so that one without an end is not kept. Of the connections whose head is not complete
each peer has a few: one more closes the oldest, so that half-sent requests are in nobody's way but their sender's.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any
from weakref import WeakSet

from relay_runner.lean import STATUS_LINE, HttpToolsProtocol

log = logging.getLogger(__name__)

WANTED_FILES = 65_536
ACCEPTED = 16
"""How many connections are accepted before those before them are looked at: a rush must not take all files."""
RESERVED_FILES = 128
"""Of the files that a process may open, what connections leave: some are being accepted, and some being closed."""
TOLD_S = 60.0
"""How often it is logged that connections were closed: whoever makes them must not fill the log as well."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a connection may take; the defaults leave room for 200 agents and their tools on one machine."""

    head_bytes: int = 32 * 1024
    headers: int = 100
    first_byte_s: float = 10.0
    head_s: float = 10.0
    body_idle_s: float = 20.0
    """How long a body may not come on."""
    body_s: float = 60.0
    """How long a body may take, and a second more for each `body_rate` bytes that came."""
    body_rate: int = 4096
    linger_s: float = 10.0
    """How long whoever does not read the end of an answer may keep the connection."""
    half_open: int = 256
    """Connections of one peer whose head is not complete."""
    burst_s: float = 2.0
    """How long more of them may be so: a crowd that comes at once is read one after the other."""
    per_peer: int = 4096
    in_all: int = 16_384


class Phase(Enum):
    """What a connection does."""

    HEAD = auto()
    """Nothing was heard yet, or a part of a head."""
    BODY = auto()
    ANSWER = auto()
    IDLE = auto()
    """Between two requests: uvicorn closes it after its keep-alive time."""


class Connections:
    """All connections of one server, by peer."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._closed = 0
        """How many were closed for one of the limits since that was logged."""
        self._told_at = -TOLD_S
        self._open: dict[str, WeakSet[asyncio.BaseTransport]] = {}
        self._half_open: dict[str, dict[LimitedProtocol, float]] = {}
        """Since when, the oldest first."""

    def admits(self, peer: str, transport: asyncio.BaseTransport) -> bool:
        """Count a connection; False where its peer, or all together, have too many."""
        if self._is_full(peer):
            self._forget_closed()
        if self._is_full(peer):
            waiting = self._half_open.get(peer)
            if not waiting:
                return False
            oldest = next(iter(waiting))
            oldest.give_up("too many connections")
            self.leaves(peer, oldest.transport)
        self._open.setdefault(peer, WeakSet()).add(transport)
        return True

    def leaves(self, peer: str, transport: asyncio.BaseTransport) -> None:
        """Count a connection no more."""
        if (mine := self._open.get(peer)) is not None:
            mine.discard(transport)
            if not mine:
                del self._open[peer]

    def begins(self, peer: str, connection: LimitedProtocol, now: float) -> None:
        """Note that a head is awaited; of too many the oldest is closed, unless it has just come like the others."""
        waiting = self._half_open.setdefault(peer, {})
        waiting.setdefault(connection, now)
        if len(waiting) > self.limits.half_open:
            oldest, since = next(iter(waiting.items()))
            if now - since >= self.limits.burst_s:
                oldest.give_up("too many unfinished requests")

    def begun(self, peer: str, connection: LimitedProtocol) -> None:
        """Note that the head is complete, or will never be."""
        if (waiting := self._half_open.get(peer)) is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._half_open[peer]

    def refused(self, peer: str, why: str, now: float) -> None:
        """Note that a connection was closed for one of the limits."""
        self._closed += 1
        if now - self._told_at >= TOLD_S:
            log.warning("closed %d connections, most recently one from %s: %s", self._closed, peer, why)
            self._closed, self._told_at = 0, now

    def _is_full(self, peer: str) -> bool:
        mine, everybody = len(self._open.get(peer, ())), sum(map(len, self._open.values()))
        return mine >= self.limits.per_peer or everybody >= self.limits.in_all

    def _forget_closed(self) -> None:
        # A WebSocket is a connection under another protocol, whose end is not told here: its transport knows.
        for peer, transports in list(self._open.items()):
            for transport in [one for one in transports if one.is_closing()]:
                self.leaves(peer, transport)


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to everything."""

    def __init__(self, *args: Any, connections_of_all: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._all = connections_of_all
        self._limits = connections_of_all.limits
        self._peer = ""
        self._phase = Phase.HEAD
        self._head_bytes = 0
        self._fields_bytes = 0
        self._too_large = False
        self._due_at: float | None = None
        self._body_ends_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- what the transport says --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or close it at once where there are too many."""
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        if not self._all.admits(self._peer, transport):
            self._refuse(503, "too many connections")
            return
        self._await_head(self._limits.first_byte_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._end()
        self._all.leaves(self._peer, self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it is more than a head may have."""
        if self.transport.is_closing():
            return
        if self._phase is Phase.IDLE or (self._phase is Phase.HEAD and not self._head_bytes):
            self._await_head(self._limits.head_s)
        elif self._phase is Phase.BODY:
            self._body_ends_at += len(data) / self._limits.body_rate
            self._due(min(self.loop.time() + self._limits.body_idle_s, self._body_ends_at))
        self._head_bytes += len(data) if self._phase is Phase.HEAD else 0
        super().data_received(data)
        if self._phase is Phase.HEAD and self._head_bytes > self._limits.head_bytes:
            self._refuse_head()

    # --- what the parser says -----------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer: they count together."""
        super().on_header(name, value)
        self._fields_bytes += len(name) + len(value)
        size = len(self.url) + self._fields_bytes
        if len(self.headers) > self._limits.headers or size > self._limits.head_bytes:
            self._too_large = True
            raise ValueError("the head is too large")  # ends the parsing of what came with it

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._all.begun(self._peer, self)
        self._phase = Phase.BODY
        self._body_ends_at = self.loop.time() + self._limits.body_s
        self._due(min(self.loop.time() + self._limits.body_idle_s, self._body_ends_at))
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Go on to the answer, which may take as long as it likes."""
        self._phase = Phase.ANSWER
        self._head_bytes = 0
        self._due(None)
        super().on_message_complete()

    def on_message_begin(self) -> None:
        """Begin a head; it may come with the end of what was before."""
        if self._phase is not Phase.HEAD:
            self._await_head(self._limits.head_s)
        self._fields_bytes = 0
        super().on_message_begin()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed."""
        if self._too_large:
            self._refuse_head()
        else:
            super().send_400_response(msg)
            self._close_in_time()

    # --- what the answer says -----------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the last bytes to be read."""
        if self._phase is Phase.ANSWER:
            self._phase = Phase.IDLE
        super().on_response_complete()
        if self.transport.is_closing():
            self._close_in_time()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket, which has times of its own."""
        self._end()
        super().handle_websocket_upgrade()

    # --- time ---------------------------------------------------------------------------------------------------------

    def give_up(self, why: str) -> None:
        """Close a connection that took too long, or is one too many."""
        self._refuse(408, why)

    def _await_head(self, seconds: float) -> None:
        self._phase = Phase.HEAD
        self._head_bytes = 0
        self._all.begins(self._peer, self, self.loop.time())
        if not self.transport.is_closing():
            self._due(self.loop.time() + seconds)

    def _due(self, at: float | None) -> None:
        """Say when the phase has to be over; one timer serves all of them, and is set again when it rings early."""
        self._due_at = at
        if at is not None and (self._timer is None or self._timer.when() > at):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due_at is None or self.transport.is_closing():
            return
        if self._phase is Phase.BODY and self.flow.read_paused:
            # It is we who do not read.
            self._due(self.loop.time() + self._limits.body_idle_s)
        elif self._due_at <= self.loop.time():
            self.give_up("the request was not sent in time")
        else:
            self._due(self._due_at)

    def _end(self) -> None:
        self._due_at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._all.begun(self._peer, self)

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _refuse_head(self) -> None:
        self._refuse(
            431, f"the request head may have at most {self._limits.head_bytes} bytes and {self._limits.headers} headers"
        )

    def _refuse(self, status: int, why: str) -> None:
        """Say why, where no answer has begun, and close."""
        self._all.refused(self._peer, why, self.loop.time())
        self._end()
        if not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
                body = b'{"error":{"code":"limit","message":"%s","hint":null}}' % why.encode()
                head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
                self.transport.write(STATUS_LINE[status] + head + body)
            self.transport.close()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # whoever waits for the rest of the body need not
            self.cycle.message_event.set()
        self._close_in_time()

    def _close_in_time(self) -> None:
        """Close for good, also where the other side does not read what is left."""
        self.loop.call_later(self._limits.linger_s, self.transport.abort)


def limited(
    limits: Limits | None = None, *, made: type[LimitedProtocol] = LimitedProtocol
) -> Callable[..., LimitedProtocol]:
    """Return what uvicorn is to make its connections with (`http=`): those of one server, counted together."""
    everything = Connections(within_files(limits or Limits()))

    def make(*args: Any, **kwargs: Any) -> LimitedProtocol:
        return made(*args, connections_of_all=everything, **kwargs)

    return make


def within_files(limits: Limits) -> Limits:
    """Return the limits that leave this process files for everything else."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return limits
    room = max(files - RESERVED_FILES, files // 2)
    return replace(
        limits,
        in_all=min(limits.in_all, room),
        per_peer=min(limits.per_peer, room),
        half_open=min(limits.half_open, max(1, room // 4)),
    )


def raise_file_limit() -> int:
    """Let this process open as many files as it may, up to 65,536; return how many that are."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if most == resource.RLIM_INFINITY else min(WANTED_FILES, most)
    if files == resource.RLIM_INFINITY or files >= wanted:
        return files
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    except (ValueError, OSError) as error:
        log.warning("cannot open more than %d files: %s", files, error)
        return files
    return wanted
