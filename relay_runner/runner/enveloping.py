"""Envelopes, written without keeping the event loop: a megabyte of tags takes a good part of a second."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from relay_runner.protocol.envelope import Enclosed, render
from relay_runner.protocol.messages import Message

AT_ONCE_CHARS = 32 * 1024


async def rendered(message: Message, nonce: str, enclosed: Sequence[Enclosed] = ()) -> str:
    """Return the whole envelope of `message`; a large one is written in a thread."""
    if len(message.body) <= AT_ONCE_CHARS:
        return render(message, nonce, enclosed)
    return await asyncio.to_thread(render, message, nonce, enclosed)
