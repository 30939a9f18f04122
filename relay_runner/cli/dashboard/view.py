"""What the live view knows, and what a key does to it: a pure object, what came from the relay and keys go in.

Whatever wants a person comes first: open permissions stand above the agents, and both are one list to move in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from relay_runner.cli.dashboard.keys import Key
from relay_runner.protocol.agents import Agent
from relay_runner.protocol.messages import MessageRecord
from relay_runner.protocol.permissions import Decision, Permission

Item = tuple[str, str]
"""What can be chosen: `permission` or `agent`, and its id."""


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave."""


@dataclass(frozen=True, slots=True)
class Attach:
    """Show this agent's terminal."""

    agent_id: str


@dataclass(frozen=True, slots=True)
class Decide:
    """Answer this permission."""

    permission_id: str
    decision: Decision
    reason: str | None = None


Act = Quit | Attach | Decide
_TURN: dict[Key | str, int] = {Key.UP: -1, "k": -1, Key.DOWN: 1, "j": 1, " ": 20}


@dataclass(slots=True)
class View:
    """Everything that is shown."""

    agents: list[Agent] = field(default_factory=list)
    permissions: list[Permission] = field(default_factory=list)
    """The open ones, oldest first."""
    records: list[MessageRecord] = field(default_factory=list)
    """The newest messages, newest first."""
    chosen: Item | None = None
    note: str = ""
    """The last thing to tell the person."""
    trouble: str = ""
    """Why what is shown may be old; empty while the relay answers."""
    reason: str | None = None
    """What is being typed as the reason of a denial; None while nothing is."""
    reading: int | None = None
    """The first line that is shown of the whole text of the chosen permission; None while the lists are shown."""

    @property
    def items(self) -> list[Item]:
        """Everything that can be chosen, in the order in which it is shown."""
        return [("permission", one.id) for one in self.permissions] + [("agent", agent.id) for agent in self.agents]

    def take(self, agents: list[Agent], permissions: list[Permission], records: list[MessageRecord]) -> None:
        """Show what the relay says now; a choice stays where it was, and a permission that is new is chosen."""
        fresh = {one.id for one in permissions} - {one.id for one in self.permissions}
        before = self.items.index(self.chosen) if self.chosen in self.items else 0
        self.agents, self.permissions, self.records = agents, permissions, records
        self.trouble = ""
        items = self.items
        if fresh and (self.chosen is None or self.chosen[0] == "agent"):
            self.chosen = next(item for item in items if item[1] in fresh)
        elif self.chosen not in items:
            self.reading = None
            self.chosen = items[min(before, len(items) - 1)] if items else None
            self.reason = None

    def press(self, key: Key | str) -> Act | None:
        """Take in one key; return what is to be done beside what is shown."""
        if self.reason is not None:
            return self._type(key)
        self.note = ""
        if self.reading is not None and key in (*_TURN, "v", "q", Key.ESCAPE):
            self.reading = max(0, self.reading + _TURN[key]) if key in _TURN else None
        elif key == "v":
            self._read()
        elif key in (Key.UP, "k"):
            self._move(-1)
        elif key in (Key.DOWN, "j"):
            self._move(1)
        elif key in ("q", Key.ESCAPE):
            return Quit()
        elif key in (Key.ENTER, "a"):
            return self._attach()
        elif key == "y":
            return self._decide(Decision.APPROVE)
        elif key == "s":
            return self._decide(Decision.APPROVE_SESSION)
        elif key == "n" and self._offers(Decision.DENY):
            self.reason = ""
        return None

    def permission(self) -> Permission | None:
        """Return the permission that is chosen."""
        return next((one for one in self.permissions if self.chosen == ("permission", one.id)), None)

    def agent(self) -> Agent | None:
        """Return the agent that is chosen, itself or by its permission."""
        if (asked := self.permission()) is not None:
            return next((agent for agent in self.agents if agent.id == asked.agent_id), None)
        return next((agent for agent in self.agents if self.chosen == ("agent", agent.id)), None)

    def _read(self) -> None:
        if self.permission() is None:
            self.note = "choose a permission first" if self.permissions else "no permission is open"
        else:
            self.reading = 0

    def _move(self, by: int) -> None:
        items = self.items
        if items:
            at = items.index(self.chosen) if self.chosen in items else -by
            self.chosen = items[max(0, min(len(items) - 1, at + by))]

    def _type(self, key: Key | str) -> Act | None:
        assert self.reason is not None
        if key is Key.ESCAPE:
            self.reason, self.note = None, "not denied"
        elif key is Key.BACKSPACE:
            self.reason = self.reason[:-1]
        elif key is Key.ENTER:
            reason, self.reason = self.reason.strip() or None, None
            return self._decide(Decision.DENY, reason)
        elif isinstance(key, str) and not isinstance(key, Key):
            self.reason += key
        return None

    def _attach(self) -> Act | None:
        agent = self.agent()
        if agent is None:
            self.note = "choose an agent first"
            return None
        return Attach(agent.id)

    def _decide(self, decision: Decision, reason: str | None = None) -> Act | None:
        if not self._offers(decision):
            return None
        asked = self.permission()
        assert asked is not None
        return Decide(asked.id, decision, reason)

    def _offers(self, decision: Decision) -> bool:
        asked = self.permission()
        if asked is None:
            self.note = "choose a permission first" if self.permissions else "no permission is open"
        elif asked.questions and decision is not Decision.DENY:
            self.note = f"it has questions: relay-runner approve {asked.id[:8]} --answer NAME=TEXT"
        elif decision not in asked.decisions:
            self.note = f"{decision} is not offered here"
        else:
            return True
        return False
