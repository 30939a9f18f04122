"""Server-sent events: the event log from any point on, and one message's record at every change.

A token that is revoked or runs out ends a stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from relay_runner.errors import RelayUnauthorized
from relay_runner.protocol.access import Caller
from relay_runner.protocol.events import Event
from relay_runner.protocol.wire import encode
from relay_runner.server.core import Core

KEEP_ALIVE_S = 15.0
PAGE = 500
COMMENT = b": still here\n\n"


async def event_stream(core: Core, caller: Caller, after: int | None) -> AsyncIterator[bytes]:
    """Yield the events after `after` (or from now on) that the caller may see, first from the log, then as they come.

    The first chunk is a comment, so that a reader knows that nothing from now on is missed.
    """
    store = core.store.under(caller)
    with suppress(RelayUnauthorized), core.feed.subscribed() as subscription:
        last = await store.last_event() if after is None else after
        yield COMMENT
        behind = True
        while not core.tokens.is_over(caller):
            while behind:
                page = await store.events_after(last, PAGE)
                for event in page:
                    last = event.seq
                    if core.tokens.is_over(caller):  # since the last chunk: its reader may be slow
                        return
                    if visible(caller, event):
                        yield chunk_of(event)
                behind = len(page) == PAGE
            subscription.changed.clear()
            events, behind = list(subscription.events), subscription.lost
            subscription.events.clear()
            subscription.lost = False
            for event in () if behind else events:
                if core.tokens.is_over(caller):
                    return
                if event.seq > last:
                    last = event.seq
                    if visible(caller, event):
                        yield chunk_of(event)
            if not behind and not await _wait(core, caller, subscription.changed):
                yield COMMENT


async def record_stream(core: Core, caller: Caller, message_id: int) -> AsyncIterator[bytes]:
    """Yield a message's record now and after every change of it."""
    store = core.store.under(caller)
    with suppress(RelayUnauthorized), core.feed.watching(message_id) as changed:
        last = b""
        while not core.tokens.is_over(caller):
            changed.clear()
            body = encode(await store.record(caller, message_id))
            if body != last:
                last = body
                yield b"event: record\ndata: " + body + b"\n\n"
            while not await _wait(core, caller, changed):
                if core.tokens.is_over(caller):
                    return
                yield COMMENT


def visible(caller: Caller, event: Event) -> bool:
    """Say whether an event is the caller's to see; a message's are for its sender and its recipients."""
    if caller.operates or event.type == "agent":
        return True
    if event.type == "token":
        return False
    data = event.data
    agent = data.get("agentId")
    return caller.may_see(data.get("from"), data.get("to"), data.get("recipient"), agent and f"agent:{agent}")


def chunk_of(event: Event) -> bytes:
    """Return an event as it goes over the wire."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), encode(event))


async def _wait(core: Core, caller: Caller, changed: asyncio.Event) -> bool:
    left_s = caller.expires_at - core.clock()
    try:
        async with asyncio.timeout(min(KEEP_ALIVE_S, left_s)):
            await changed.wait()
    except TimeoutError:
        return False
    return True
