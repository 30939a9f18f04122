"""A question that is not over, and the hook that is held open for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from relay_runner.providers.base import Answer, HookReply
from relay_runner.providers.claude.asks import Ask
from relay_runner.providers.claude.dialog import Dialog, proves

TAKEN_S = 10.0
"""How long the program may take to act on an answer before its dialog, which is still there, is asked again."""
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
    dialog: Dialog | None = None
    """What a dialog that no hook told of says, where its choices can be read."""
    first_up: float | None = None
    """When its dialog was first seen upon all others."""
    last_up: float = float("-inf")
    given: Answer | None = None
    """What we answered."""
    given_at: float | None = None
    """When we answered the held call."""
    missed: Answer | None = None
    """What we answered without an effect."""
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

    @property
    def overdue(self) -> bool:
        """Whether what we answered should have had its effect long ago."""
        return self.given_at is not None and time.monotonic() - self.given_at > TAKEN_S

    def same(self, dialog: Dialog | None) -> bool:
        """Say whether this is proven to be its dialog: what was asked, or what was seen before, and nothing else."""
        if self.ask is not None:
            return dialog is not None and proves(dialog, self.ask)
        if self.dialog is None:
            return dialog is None
        return dialog is not None and dialog.like(self.dialog)

    def looks_like(self, dialog: Dialog | None) -> bool:
        """Say whether a dialog that no hook told of is still there; what it says may count down."""
        if self.dialog is None or dialog is None:
            return self.dialog is dialog
        return (dialog.header, dialog.labels) == (self.dialog.header, self.dialog.labels)

    def missed_out(self) -> None:
        """Take note that the answer had no effect: it can be given again."""
        self.missed, self.given, self.given_at = self.given, None, None

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
