"""A question that is not over, and the hook that is held open for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from relay_runner.providers.base import Answer, HookReply
from relay_runner.providers.claude.asks import Ask


@dataclass
class Pending:
    """A question that is not over."""

    id: str
    ask: Ask | None
    """None: a dialog that no hook told of."""
    hook: asyncio.Future[HookReply] | None = None
    """The held call; None where the dialog alone asks."""
    shown: bool = False
    """Its dialog was seen."""
    given: Answer | None = None
    """What we answered."""
    withdrawn: bool = False
    """We interrupt the turn."""
    asked_at: float = field(default_factory=time.monotonic)
    stepped_aside: bool = False
    """The hook was ended so that the person at the terminal sees the dialog."""
    loose_since: float | None = None
    """Since when nobody holds a call for it: its dialog comes up, or it is over."""

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
