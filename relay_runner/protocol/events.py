"""What happened on the relay, in order: the stream behind `GET /events` (SSE) and `watch`."""

from __future__ import annotations

from typing import Any

from relay_runner.protocol.wire import Wire


class Event(Wire, frozen=True, kw_only=True):
    """One thing that happened.

    `type` is `message`, `delivery`, `agent`, `command`, `permission`, `task`, `timeline` or `reaction`.
    """

    seq: int
    type: str
    at: float
    data: dict[str, Any] = {}
    """The ids concerned and the new state; never a message's body or what a permission is about."""
