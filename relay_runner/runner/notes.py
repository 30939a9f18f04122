"""What a provider's events say about the agent: noted where the status, the hello and the next start find it."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from relay_runner.protocol.agents import WorkKind
from relay_runner.protocol.control import StatusAnswer, StatusPost
from relay_runner.protocol.envelope import sanitise_line
from relay_runner.providers.base import (
    ContextUsed,
    Degraded,
    Event,
    Learnt,
    ProcessState,
    SessionLost,
    SessionStarted,
    StateChanged,
    SubagentEnded,
    SubagentStarted,
    TurnEnded,
    TurnStarted,
    Unusable,
    Warned,
)
from relay_runner.runner.identity import Identity
from relay_runner.runner.work import POSTED, Work

MAX_KIND_CHARS = 60


class Notes:
    """Take every event first, before anybody acts on it."""

    def __init__(
        self,
        work: Work,
        identity: Identity,
        *,
        on_session: Callable[[str], None],
        on_lost: Callable[[str], None],
        on_turn: Callable[[str], None],
        on_idle: Callable[[], None],
        on_unusable: Callable[[str], object],
    ) -> None:
        self._work = work
        self._identity = identity
        self._on_session = on_session
        self._on_lost = on_lost
        self._on_turn = on_turn
        self._on_idle = on_idle
        self._on_unusable = on_unusable

    def take(self, event: Event) -> None:
        """Note one event."""
        now = time.time()
        match event:
            case SessionStarted(session_id, model=model):
                self._work.session_id = session_id
                self._identity.learn({"model": model, "sessionId": session_id})
                self._on_session(session_id)
            case SessionLost(session_id):
                self._identity.learn({"lostSession": session_id})
                self._on_lost(session_id)
            case StateChanged(state, source, detail):
                self._work.provider(state, detail, source=source, now=now)
                if state is ProcessState.IDLE:
                    self._on_idle()
            case TurnStarted(turn_id, source):
                self._work.start(WorkKind.TURN, turn_id, now=now, source=source)
            case TurnEnded():
                self._work.clear(WorkKind.TURN)
                if self._work.session_id is not None:
                    self._on_turn(self._work.session_id)
            case SubagentStarted(id, source, role, label):
                self._work.start(WorkKind.SUBAGENT, id, now=now, source=source, role=role, label=label)
            case SubagentEnded(None):
                self._work.clear(WorkKind.SUBAGENT)
            case SubagentEnded(str() as id):
                self._work.finish(WorkKind.SUBAGENT, id)
            case ContextUsed(context):
                self._work.context = context
                self._identity.learn({"context": msgspec.to_builtins(context)})
            case Degraded(reason):
                self._work.degraded = reason
            case Unusable(reason):
                self._work.timeline.add("provider-unusable", reason=reason)
                self._on_unusable(reason)
            case Warned(kind, text):
                self._work.timeline.add("provider-warning", warning=kind, text=text)
            case Learnt(values):
                self._identity.learn(values)

    def post(self, post: StatusPost, *process: str) -> StatusAnswer:
        """Take what a script inside the program says; `process` are the ids that are this program's own."""
        told = post.provider_session_id
        if told is not None and told not in (*process, self._work.session_id):
            return StatusAnswer(accepted=False, reason="it is of another session")
        if not self._work.posted(post, time.time()):
            return StatusAnswer(accepted=False, reason="too much is posted already")
        if post.timeline is not None:
            kind = sanitise_line(post.timeline.kind, MAX_KIND_CHARS)
            self._work.timeline.add(f"{POSTED}:{kind}", **{POSTED: post.timeline.data})
        return StatusAnswer(accepted=True)
