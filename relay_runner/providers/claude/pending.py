"""A question that is not over, and the hook that is held open for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from relay_runner.providers.base import Answer, HookReply
from relay_runner.providers.claude.asks import Ask

SETTLED_S = 1.0
"""How long after it was asked a dialog has surely taken its place upon, or below, the others."""


@dataclass
class Pending:
    """A question that is not over."""

    id: str
    ask: Ask | None
    """None: a dialog that no hook told of."""
    hook: asyncio.Future[HookReply] | None = None
    """The held call; None where the dialog alone asks."""
    first_up: float | None = None
    """When its dialog was first seen upon all others."""
    last_up: float = float("-inf")
    given: Answer | None = None
    """What we answered."""
    withdrawn: bool = False
    """We interrupt the turn."""
    asked_at: float = field(default_factory=time.monotonic)
    """What an earlier runner was asked comes before everything else."""
    stepped_aside: bool = False
    """The hook was ended so that the person at the terminal sees the dialog."""
    loose_since: float | None = None
    """Since when nobody holds a call for it: its dialog comes up, or it is over."""

    @property
    def shown(self) -> bool:
        """Whether its dialog was ever seen."""
        return self.first_up is not None

    def is_up(self) -> None:
        """Note that its dialog is the one that is seen now."""
        self.last_up = time.monotonic()
        self.first_up = self.first_up or self.last_up

    def lay_upon(self, other: Pending) -> bool:
        """Say whether its dialog lay upon the other's, which is up now: then it is over.

        A newer dialog hides an older one. Those that are asked at once come in any order, so only time can tell: the
        other was seen before this one came up, or was asked long before this one was still up.
        """
        if self.first_up is None:
            return False
        if other.first_up is not None and other.first_up < self.first_up:
            return True
        return self.last_up - other.asked_at > SETTLED_S

    @property
    def hidden(self) -> bool:
        """Whether it is a subagent's, and its dialog waits for the end of the held call."""
        return self.hook is not None and self.ask is not None and bool(self.ask.agent_id) and not self.shown

    def let_go(self, reply: HookReply | None = None) -> None:
        """End the held call, with an answer, or without one: then the dialog asks on."""
        hook, self.hook = self.hook, None
        if hook is not None and not hook.done():
            self.loose_since = time.monotonic()
            hook.set_result(reply or HookReply())
