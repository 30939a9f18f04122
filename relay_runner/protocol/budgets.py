"""What an agent, and each sender of it, may spend in a day: pure rules over what was spent.

A day is one of UTC. A message is refused before it goes in when its sender, or the agent as a whole, has nothing left:
a turn that runs is never cut off, so that the last one may go over. The stricter of two budgets counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from relay_runner.protocol.usage import Usage

Count = Annotated[int, msgspec.Meta(ge=0)]
Money = Annotated[float, msgspec.Meta(ge=0)]

BY_HAND = ""
"""Whom a turn is charged to that no message asked for: somebody typed at the terminal."""


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that may be spent in a day; None is as much as there is."""

    turns: Count | None = None
    tokens: Count | None = None
    cost_usd: Money | None = None

    def used_up(self, spent: Spent) -> str | None:
        """Return what is used up, in a few words, or None while there is something left of everything."""
        if self.turns is not None and spent.turns >= self.turns:
            return f"{self.turns} turns"
        if self.tokens is not None and spent.tokens >= self.tokens:
            return f"{self.tokens} tokens"
        if self.cost_usd is not None and spent.cost_usd >= self.cost_usd:
            return f"{self.cost_usd:.2f} USD"
        return None


class Budgets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All budgets of one agent, as they stand under `[budget]` in a settings file."""

    agent: Budget = Budget()
    sender: Budget = Budget()
    """Of each sender alone."""
    senders: Mapping[str, Budget] = {}
    """Of some senders (`agent:bob`, `person:alice`) in place of it."""

    def refusal(self, sender: str, spent: Mapping[str, Spent]) -> str | None:
        """Return why a message of this sender is refused now, in one line for that sender, or None."""
        if (used_up := self.agent.used_up(total(spent.values()))) is not None:
            return f"over budget: the agent's {used_up} of today are used up; it takes messages again at 00:00 UTC"
        mine = self.senders.get(sender, self.sender)
        if (used_up := mine.used_up(spent.get(sender, Spent()))) is not None:
            return f"over budget: {sender} has used up its {used_up} of today; try again after 00:00 UTC"
        return None

    def wanted(self) -> frozenset[str]:
        """Return what has to be measured for these: `turns`, `tokens`, `cost`."""
        every = (self.agent, self.sender, *self.senders.values())
        found = {
            "turns": any(one.turns is not None for one in every),
            "tokens": any(one.tokens is not None for one in every),
            "cost": any(one.cost_usd is not None for one in every),
        }
        return frozenset(name for name, is_wanted in found.items() if is_wanted)


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent in a day."""

    turns: int = 0
    tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Bill:
    """What one turn is charged with, and to whom."""

    day: str
    sender: str
    usage: Usage | None = None
    turns: int = 1
    """0 for a message that went into a turn which another one pays for."""


def total(spent: Iterable[Spent]) -> Spent:
    """Return what several spent together."""
    every = list(spent)
    return Spent(sum(one.turns for one in every), sum(one.tokens for one in every), sum(one.cost_usd for one in every))


def day_of(now: float) -> str:
    """Return the day that an instant belongs to, so that later days sort later."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
