"""Parts of the tracker: the session that the program is on, the turn that goes on, the subagents that work in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_runner.providers.base import Event, Learnt, SessionStarted, SubagentEnded, SubagentStarted
from relay_runner.providers.claude.state_file import Reading

SESSION_GRACE_S = 0.5
"""How long the state file's new session id waits for the SessionStart hook that says more."""
STATE_FILE = "state-file"
HOOK_S = 10.0
"""How much later than its line in the transcript a prompt's hook may come; it fires before the line is written."""
ASYNC_LAUNCHED = "async_launched"
_REPORT = re.compile(r"<task-notification>\s*<task-id>([^<]{1,100})</task-id>")


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
    peer: bool = False
    """Another session of the program began it: its words are nobody's here."""


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


class PromptHooks:
    """Prompts of ours that the transcript shows and whose hook did not come: hooks do not reach the runner."""

    def __init__(self) -> None:
        self._late: dict[str, float] = {}
        """By nonce, when the transcript showed it."""
        self.missed = False
        """Whether one never came, and none of any prompt since."""

    def shown(self, nonce: str, now: float) -> None:
        """Take a prompt that the transcript tells first; what is steered into a turn need have no hook."""
        self._late[nonce] = now

    def came(self) -> None:
        """Take a prompt's hook: those of before may be lost, but hooks do come."""
        self._late.clear()
        self.missed = False

    def overdue(self, now: float) -> bool:
        """Say whether a hook never came; once, until one does."""
        if self.missed or not any(now - at >= HOOK_S for at in self._late.values()):
            return False
        self.missed = True
        return True


class Subagents:
    """Those that work now. One that is killed fires no hook, so what else ends them counts as well.

    One that was started asynchronously (2.1.332: all) reports to the model by a notification, which is a prompt of its
    own or goes into the running turn. Done and not reported yet is no longer in the Stop hook's list, and holds the
    turn all the same: the model's answer is still to come.
    """

    def __init__(self) -> None:
        self._working: set[str] = set()
        self._asynchronous: set[str] = set()
        self._unreported: set[str] = set()

    def hook(self, name: str, payload: Mapping[str, Any], source: str) -> list[Event]:
        """Take a hook of a subagent; a compaction looks like one without a type."""
        agent_id, kind = str(payload["agent_id"]), payload.get("agent_type")
        if name == "SubagentStart" and kind:
            self._working.add(agent_id)
            return [SubagentStarted(agent_id, source, role=str(kind))]
        if name == "SubagentStop" and agent_id in self._working:
            self._working.discard(agent_id)
            if agent_id in self._asynchronous:
                self._unreported.add(agent_id)
            return [SubagentEnded(agent_id, source)]
        return []

    def only(self, running: Iterable[str], source: str) -> list[Event]:
        """End all but these: the Stop hook names every one that still runs."""
        lost = sorted(self._working - set(running))
        self._working.difference_update(lost)
        return [SubagentEnded(one, source) for one in lost]

    @property
    def unreported(self) -> bool:
        """Whether one is done and the model was not told yet."""
        return bool(self._unreported)

    def line(self, line: Mapping[str, Any]) -> None:
        """Take a line of the transcript: one was started that works beside the turn, or its report waits or went in."""
        result, attachment = line.get("toolUseResult"), line.get("attachment")
        if isinstance(result, Mapping) and result.get("status") == ASYNC_LAUNCHED:
            self._asynchronous.add(str(result.get("agentId")))
        elif line.get("type") == "queue-operation" and line.get("operation") == "enqueue":
            self._unreported.update(_reports(line.get("content")) & self._asynchronous)
        elif isinstance(attachment, Mapping) and attachment.get("type") == "queued_command":
            self.prompt(attachment.get("prompt"))

    def prompt(self, text: Any) -> None:
        """Take what went into the conversation: it may be a report."""
        self._unreported -= _reports(text)

    def over(self, source: str) -> list[Event]:
        """End all: nothing of the turn runs any more."""
        self._unreported.clear()
        if not self._working:
            return []
        self._working.clear()
        return [SubagentEnded(None, source)]


def _reports(text: Any) -> set[str]:
    """Return the subagents whose reports stand at the beginning of a prompt; elsewhere they are somebody's words."""
    found = _REPORT.match(text) if isinstance(text, str) else None
    return {found[1]} if found is not None else set()
