"""What keeps the agent busy, and the status that follows from it: a pure object, times go in as values.

Busy means that there is work; every piece of work has a source and an age. The provider's own state is one more
witness: it can make the agent busy without any work that we know of (a person types to it), and when it is idle no
turn or subagent of ours can still be running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from relay_runner.protocol.agents import (
    AgentState,
    Auth,
    Context,
    HeldMessage,
    Status,
    Transport,
    TransportState,
    WorkItem,
    WorkKind,
)
from relay_runner.protocol.control import PostedStatus, StatusPost
from relay_runner.protocol.envelope import sanitise_line
from relay_runner.providers.base import ProcessState
from relay_runner.runner.timeline import Timeline

POSTED = "post"
"""The source of what a script inside says, and how the ids of it begin."""
POSTED_S = 300.0
"""How long posted work outlives an idle program without being posted again: its script may have died."""
MOST_POSTED = 50
LATE_S = 10.0
"""How long a turn or a subagent of an idle program may be the beginning of a turn whose state follows."""
ENDED_BY_IDLE = frozenset({WorkKind.TURN, WorkKind.SUBAGENT})
_BUSY = frozenset({ProcessState.STARTING, ProcessState.BUSY, ProcessState.WAITING})


class Work:
    """Keep the pieces of work and what is known of the provider."""

    def __init__(self, timeline: Timeline | None = None) -> None:
        self.timeline = timeline or Timeline()
        self.transport: Transport | None = None
        self.auth: Auth | None = None
        self._items: dict[tuple[WorkKind, str], WorkItem] = {}
        self._state: ProcessState | None = None
        self._detail: str | None = None
        self._source: str | None = None
        self._state_since = 0.0
        self._touched_at: dict[tuple[WorkKind, str], float] = {}
        """When each piece was last told to go on."""
        self.complaint: str | None = None
        """What a script inside complains of."""
        self._since = (AgentState.OFFLINE, 0.0)
        self.session_id: str | None = None
        self.context: Context | None = None
        self.lifecycle: str | None = None
        self.degraded: str | None = None
        self.unreachable: str | None = None
        """What keeps people and messages from its terminal."""
        self.disk: str | None = None
        """What is wrong with the disk: nothing new goes in until it is well."""
        self.limit: str | None = None
        """Until when the model's side takes no work, in the words of `Hold.text`."""
        self.held: tuple[HeldMessage, ...] = ()
        """The messages that cannot go in now, for longer than a moment."""
        self.error: str | None = None
        self.asks: tuple[str, ...] = ()
        """What the program waits for a person to permit, each a line."""

    @property
    def items(self) -> tuple[WorkItem, ...]:
        """All work, oldest first."""
        return tuple(sorted(self._items.values(), key=lambda item: item.started_at))

    def start(
        self,
        kind: WorkKind,
        id: str,
        *,
        now: float,
        source: str,
        label: str | None = None,
        role: str | None = None,
        parent_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Note a piece of work; one that is known already keeps its age."""
        known = self._items.get((kind, id))
        self._touched_at[kind, id] = now
        self._items[(kind, id)] = WorkItem(
            kind=kind,
            id=id,
            started_at=known.started_at if known else now,
            source=source,
            label=label,
            role=role,
            parent_id=parent_id,
            metadata=dict(metadata or {}),
        )

    def finish(self, kind: WorkKind, id: str) -> None:
        """Forget a piece of work; one that is not known is fine (its start was lost)."""
        self._items.pop((kind, id), None)

    def clear(self, *kinds: WorkKind) -> None:
        """Forget all work of these kinds, or of all kinds."""
        self._items = {key: item for key, item in self._items.items() if kinds and item.kind not in kinds}

    def provider(
        self, state: ProcessState | None, detail: str | None = None, *, source: str | None = None, now: float = 0.0
    ) -> None:
        """Note the provider's own state; None: there is no process, and nothing that was posted goes on in it."""
        if state is not self._state:
            self._state_since = now
        self._state, self._detail, self._source = state, detail, source
        if state in (None, ProcessState.IDLE):
            self._keep(lambda item: item.kind not in ENDED_BY_IDLE or (_posted(item) and state is not None))
        if state is None:
            self._keep(lambda item: not _posted(item))
            self.complaint = None

    def posted(self, post: StatusPost, now: float) -> bool:
        """Note what a script inside says; it touches no work but posted work. False: too much is posted already."""
        label = sanitise_line(post.label or post.provider_state or "") or None
        self.complaint = (label or "a script inside says so") if post.status is PostedStatus.ERROR else None
        self._keep(lambda item: not (_posted(item) and item.kind in post.clear))
        if post.status is PostedStatus.BUSY:
            known = (post.reason, f"{POSTED}:{post.id or post.reason}") in self._items
            if not known and sum(map(_posted, self._items.values())) >= MOST_POSTED:
                return False
            metadata = {**post.metadata, **({"providerState": post.provider_state} if post.provider_state else {})}
            self.start(
                post.reason,
                f"{POSTED}:{post.id or post.reason}",
                now=now,
                source=POSTED,
                label=label,
                role=post.role,
                parent_id=post.parent_id,
                metadata=metadata,
            )
        elif post.id is not None:
            self.finish(post.reason, f"{POSTED}:{post.id}")
        else:
            self._keep(lambda item: not (_posted(item) and item.kind is post.reason))
        return True

    def _keep(self, wanted: Callable[[WorkItem], bool]) -> None:
        self._items = {key: item for key, item in self._items.items() if wanted(item)}

    def _forget_lost(self, now: float) -> None:
        """Let go of what an idle provider can no longer be at: the end of it was lost."""
        if self._state is not ProcessState.IDLE:
            return

        def lives(item: WorkItem) -> bool:
            # Counted from what is newer: a busy provider may well have been at it all the time.
            age_s = now - max(self._touched_at.get((item.kind, item.id), now), self._state_since)
            if _posted(item):
                return age_s < POSTED_S
            return item.kind not in ENDED_BY_IDLE or age_s < LATE_S

        self._keep(lives)

    def reaches(self, state: TransportState, now: float, detail: str | None = None) -> bool:
        """Note how the relay is reached; say whether that changed."""
        before = self.transport
        changed = before is None or before.state is not state
        since = now if before is None or changed else before.since
        self.transport = Transport(state=state, since=since, detail=detail)
        return changed

    def status(self, now: float) -> Status:
        """Return what to publish."""
        self._forget_lost(now)
        self._touched_at = {key: at for key, at in self._touched_at.items() if key in self._items}
        items = self.items
        if self.error is not None or (self.complaint is not None and self._state is not None):
            state = AgentState.ERROR
        elif self._state is None:
            state = AgentState.OFFLINE
        else:
            held = self.disk is not None or self.limit is not None
            busy = bool(items or self.asks) or self._state in _BUSY or held
            state = AgentState.BUSY if busy else AgentState.IDLE
        if state is not self._since[0] or not self._since[1]:
            self._since = (state, now)
        return Status(
            agent_status=state,
            since=self._since[1],
            ready=self._state in (ProcessState.IDLE, ProcessState.BUSY) and self.lifecycle is None,
            busy_reasons=self._reasons(items),
            active_work=items,
            active_subagents=sum(item.kind is WorkKind.SUBAGENT for item in items),
            provider_state=self._provider_state(),
            provider_state_source=self._source,
            provider_state_since=self._state_since,
            provider_session_id=self.session_id,
            context=self.context if self._state is not None else None,
            terminal_status="open" if self._state is not None else "closed",
            lifecycle_action=self.lifecycle,
            detail=self.error or self.complaint or self.disk or self.limit or self.unreachable or self.degraded,
            held=self.held,
            transport=self.transport,
            auth=self.auth,
            timeline=self.timeline.waiting,
            at=now,
        )

    def _reasons(self, items: tuple[WorkItem, ...]) -> tuple[str, ...]:
        reasons = [f"{item.kind}: {item.label}" if item.label else str(item.kind) for item in items]
        if self.asks and self._state is not None:
            reasons[:0] = self.asks
        elif self._state is ProcessState.WAITING or (not reasons and self._state in _BUSY):
            # First what somebody may have to do something about.
            reasons.insert(0, self._provider_state() or "busy")
        if self.limit is not None:
            reasons.insert(0, self.limit)
        if self.disk is not None:
            reasons.insert(0, self.disk)
        return tuple(dict.fromkeys(reasons))

    def _provider_state(self) -> str | None:
        if self._state is None:
            return None
        return f"{self._state}: {self._detail}" if self._detail else str(self._state)


def _posted(item: WorkItem) -> bool:
    return item.source == POSTED
