"""The sub-agents of a thread: threads of their own on the same server. A pure table, `now` goes in, events come out.

    known     an item of the thread that spawned it (`subAgentActivity`, older `collabAgentToolCall`), or its parent id
    running   since it was spawned, or since its thread became active again
    ended     its thread is active no more, was closed, or its parent's item says so

A server tells every client the status of every thread, so a running one is noticed to end; `unsure` names those whose
end may have been missed, to be looked at. A sub-agent's own sub-agents count as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from relay_runner.protocol.envelope import sanitise_line
from relay_runner.providers.base import Event, SubagentEnded, SubagentStarted

LOOK_S = 5.0
"""How long a sub-agent may say nothing before its thread is looked at."""
SPAWN_S = 2.0
"""How long one that was just spawned may take to become active."""
ACTIVITY = "subAgentActivity"
CALL = "collabAgentToolCall"
OVER = ("completed", "interrupted")


@dataclass(slots=True)
class SubAgent:
    """One sub-agent."""

    id: str
    label: str
    running: bool = False
    active: bool = False
    """Its thread was told to be active since it is running: a fresh one is told idle first."""
    heard_at: float = 0.0
    turn_id: str | None = None
    flags: tuple[str, ...] = ()


class SubAgents:
    """All sub-agents of one agent; every call returns the events that follow from it."""

    def __init__(self) -> None:
        self._known: dict[str, SubAgent] = {}
        self._events: list[Event] = []

    @property
    def running(self) -> tuple[SubAgent, ...]:
        """Those that work."""
        return tuple(one for one in self._known.values() if one.running)

    @property
    def flags(self) -> tuple[str, ...]:
        """What running ones wait for, in the server's words."""
        return tuple(flag for one in self.running for flag in one.flags)

    def label(self, thread_id: str) -> str | None:
        """Return what a sub-agent is called; None where the thread is none of ours."""
        known = self._known.get(thread_id)
        return known.label if known is not None else None

    def unsure(self, now: float) -> list[str]:
        """Return those that said nothing for so long that they have to be looked at."""
        patience = {True: LOOK_S, False: SPAWN_S}
        return [one.id for one in self.running if now - one.heard_at >= patience[one.active]]

    def item(self, item: Mapping[str, Any], now: float) -> list[Event]:
        """Take in an item of the agent's thread, or of a sub-agent's."""
        kind, id = item.get("kind"), str(item.get("agentThreadId"))
        if item.get("type") == ACTIVITY:
            one = self._know(id, str(item.get("agentPath") or ""), now)
            if kind == "started":
                self._begin(one, ACTIVITY)
            elif kind in OVER:
                self._end(one, ACTIVITY)
        elif item.get("type") == CALL and item.get("tool") == "spawnAgent":
            for receiver in item.get("receiverThreadIds") or ():
                self._begin(self._know(str(receiver), str(item.get("prompt") or ""), now), CALL)
        return self._told()

    def notice(self, thread_id: str, method: str, params: Mapping[str, Any], now: float) -> list[Event]:
        """Take in a notification about a sub-agent's thread."""
        one = self._known.get(thread_id)
        if one is None:
            return []
        one.heard_at = now
        match method:
            case "thread/status/changed":
                self._status(one, params.get("status"), method)
            case "thread/closed" | "thread/deleted":
                self._end(one, method)
            case "turn/started":
                one.turn_id = str(params["turn"]["id"])
            case "turn/completed":
                one.turn_id = None
        return self._told()

    def look(self, thread: Mapping[str, Any] | None, id: str, now: float) -> list[Event]:
        """Take in a thread as it was read, whether it was known or not; None: the server does not know it."""
        if thread is None:
            if (gone := self._known.get(id)) is not None:
                self._end(gone, "thread")
            return self._told()
        one = self._know(id, _called(thread), now)
        one.active = one.active or now - one.heard_at >= SPAWN_S
        one.heard_at = now
        self._status(one, thread.get("status"), "thread")
        return self._told()

    def only(self, ids: Iterable[str]) -> list[Event]:
        """End whatever is not among these threads: after a reconnect, those that the server has loaded."""
        loaded = set(ids)
        for one in self.running:
            if one.id not in loaded:
                self._end(one, "thread")
        return self._told()

    def clear(self) -> list[Event]:
        """Forget all: the agent goes on with another thread."""
        for one in self.running:
            self._end(one, "thread")
        self._known.clear()
        return self._told()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _know(self, id: str, path: str, now: float) -> SubAgent:
        one = self._known.get(id)
        if one is None:
            name = sanitise_line(path.rstrip("/").rpartition("/")[2], 60)
            one = self._known[id] = SubAgent(id, name or "sub-agent", heard_at=now)
        return one

    def _status(self, one: SubAgent, status: Any, source: str) -> None:
        status = status if isinstance(status, dict) else {}
        one.flags = tuple(status.get("activeFlags") or ())
        if status.get("type") == "active":
            self._begin(one, source)
            one.active = True
        elif one.active or status.get("type") != "idle":
            self._end(one, source)

    def _begin(self, one: SubAgent, source: str) -> None:
        if not one.running:
            one.running, one.active = True, False
            self._events.append(SubagentStarted(one.id, source, label=one.label))

    def _end(self, one: SubAgent, source: str) -> None:
        if one.running:
            one.running, one.active, one.flags, one.turn_id = False, False, (), None
            self._events.append(SubagentEnded(one.id, source))

    def _told(self) -> list[Event]:
        events, self._events = self._events, []
        return events


def _called(thread: Mapping[str, Any]) -> str:
    """Return the path of a sub-agent's name, or its nickname."""
    source = thread.get("source")
    spawned = source.get("subAgent") if isinstance(source, dict) else None
    spawned = spawned.get("thread_spawn") if isinstance(spawned, dict) else None
    path = spawned.get("agent_path") if isinstance(spawned, dict) else None
    return str(path or thread.get("agentNickname") or "")
