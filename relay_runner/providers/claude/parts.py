"""Parts of the tracker: the session that the program is on, the turn that goes on, the subagents that work in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_runner.providers.base import Event, Learnt, SessionStarted, SubagentEnded, SubagentStarted
from relay_runner.providers.claude.state_file import Reading

SESSION_GRACE_S = 0.5
"""How long the state file's new session id waits for the SessionStart hook that says more."""
STATE_FILE = "state-file"


@dataclass(slots=True)
class OpenTurn:
    """The turn that is going on."""

    id: str
    started_at: float
    prompted_at: float
    nonces: list[str] = field(default_factory=list)
    made_up: bool = False
    """Its beginning was missed, so what the transcript shows meanwhile is taken for its own."""
    paused: bool = False
    """The model is done for now, and a background agent is not."""
    stopped: bool = False
    """We pressed Escape into it."""
    result: str | None = None
    """What it said when it paused."""


class Session:
    """The session that was announced last."""

    def __init__(self) -> None:
        self.id: str | None = None
        self._noticed_at: float | None = None

    def hook(self, payload: Mapping[str, Any], source: str) -> list[Event]:
        """Take a SessionStart hook."""
        events: list[Event] = []
        session_id, model = str(payload.get("session_id") or ""), payload.get("model")
        if session_id and session_id != self.id:
            self.id = session_id
            events.append(SessionStarted(session_id, str(payload.get("source") or source), model))
        if model:
            events.append(Learnt({"model": model}))
        return events

    def read(self, reading: Reading, now: float) -> list[Event]:
        """Take what the state file says: another session counts when no hook tells of it."""
        if reading.session_id == self.id:
            self._noticed_at = None
        elif self._noticed_at is None:
            self._noticed_at = now
        elif now - self._noticed_at >= SESSION_GRACE_S:
            self.id, self._noticed_at = reading.session_id, None
            return [SessionStarted(reading.session_id, STATE_FILE)]
        return []


class Subagents:
    """Those that work now. One that is killed fires no hook, so what else ends them counts as well."""

    def __init__(self) -> None:
        self._working: set[str] = set()

    def hook(self, name: str, payload: Mapping[str, Any], source: str) -> list[Event]:
        """Take a hook of a subagent; a compaction looks like one without a type."""
        agent_id, kind = str(payload["agent_id"]), payload.get("agent_type")
        if name == "SubagentStart" and kind:
            self._working.add(agent_id)
            return [SubagentStarted(agent_id, source, role=str(kind))]
        if name == "SubagentStop" and agent_id in self._working:
            self._working.discard(agent_id)
            return [SubagentEnded(agent_id, source)]
        return []

    def only(self, running: Iterable[str], source: str) -> list[Event]:
        """End all but these: the Stop hook names every one that still runs."""
        lost = sorted(self._working - set(running))
        self._working.difference_update(lost)
        return [SubagentEnded(one, source) for one in lost]

    def over(self, source: str) -> list[Event]:
        """End all: nothing of the turn runs any more."""
        if not self._working:
            return []
        self._working.clear()
        return [SubagentEnded(None, source)]
