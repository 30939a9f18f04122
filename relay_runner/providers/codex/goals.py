"""A thread's goal: while it is active Codex goes on by itself, turn after turn, and leaves no moment for a message.

So when a message waits, the goal is paused: the running turn ends as ever, the message goes in and has its own turn,
and when the thread was idle for a moment the goal is taken up again. Which thread's goal is put aside is remembered
before anything is done, so that a goal is not forgotten whoever dies meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from relay_runner.providers.base import ProcessState
from relay_runner.providers.codex.client import Client, Refused
from relay_runner.providers.codex.memo import Memo

log = logging.getLogger(__name__)

TAKE_UP_S = 2.0
"""How long the thread is idle before its goal goes on: the next message may be on its way."""
ACTIVE, PAUSED = "active", "paused"
SET, GET = "thread/goal/set", "thread/goal/get"


class Goal:
    """What is known of the goal, and what is to be done about it."""

    def __init__(self, memo: Memo) -> None:
        self._memo = memo
        self._status: str | None = None
        self._wanted = False
        self._idle_at: float | None = None

    def wait_for(self) -> bool:
        """Note that a message waits; say whether it waits for the goal."""
        self._wanted = self._status == ACTIVE
        return self._wanted

    def aside(self, thread_id: str | None) -> bool:
        """Say whether a thread's goal is put aside for a message."""
        return thread_id is not None and self._memo.aside == thread_id

    def notice(self, method: str, params: Mapping[str, Any]) -> None:
        """Take in a notification about the thread."""
        if method == "thread/goal/updated":
            goal = params.get("goal")
            self._status = goal.get("status") if isinstance(goal, dict) else None
            if self._status not in (ACTIVE, PAUSED):
                self._forget()  # it is reached, or somebody else decided about it
        elif method == "thread/goal/cleared":
            self._status = None

    async def look(self, client: Client, thread_id: str, methods: frozenset[str]) -> None:
        """Ask for the goal of a thread that was just joined."""
        self._wanted, self._idle_at, self._status = False, None, None
        if GET not in methods:
            return
        try:
            goal = (await client.call(GET, {"threadId": thread_id})).get("goal")
        except Refused as error:
            log.info("Codex does not tell its goal: %s", error)
            return
        self._status = goal.get("status") if isinstance(goal, dict) else None
        if self.aside(thread_id) and self._status not in (ACTIVE, PAUSED):
            self._forget()

    async def tend(self, client: Client, thread_id: str, state: ProcessState, now: float) -> None:
        """Put the goal aside where a message waits for it, and take it up where none does any more."""
        self._idle_at = (self._idle_at or now) if state is ProcessState.IDLE else None
        if self._wanted and self._status == ACTIVE:
            self._memo.put_aside(thread_id)
            await self._set(client, thread_id, PAUSED)
        elif self.aside(thread_id) and self._idle_at is not None and now - self._idle_at >= TAKE_UP_S:
            await self._set(client, thread_id, ACTIVE)
            self._forget()
        self._wanted = False

    async def _set(self, client: Client, thread_id: str, status: str) -> None:
        try:
            await client.call(SET, {"threadId": thread_id, "status": status})
            self._status = status
        except Refused as error:
            log.info("Codex did not set its goal %s: %s", status, error)
            self._forget()

    def _forget(self) -> None:
        if self._memo.aside is not None:
            self._memo.put_aside(None)
