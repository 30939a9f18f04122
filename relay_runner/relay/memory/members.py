"""The agents of a relay in memory, and the buses of their current instances."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from msgspec.structs import replace

from relay_runner.errors import ClaimLost
from relay_runner.protocol import acceptance
from relay_runner.protocol.agents import OFFLINE_AFTER_S, TIMELINE_KEPT, Agent, Status, TimelineEvent, unheard
from relay_runner.protocol.frames import Hello, ServerFrame, Superseded
from relay_runner.protocol.messages import Delivery
from relay_runner.relay.memory.board import Board

Frames = asyncio.Queue[ServerFrame | None]
"""What waits for a bus; None ends it."""


@dataclass(slots=True)
class Member:
    """An agent, and the bus of its current instance."""

    hello: Hello
    status: Status
    created_at: float
    last_seen_at: float
    frames: Frames | None = None
    instances: set[str] = field(default_factory=set)
    removed: bool = False
    left_at: float = 0.0
    timeline: list[TimelineEvent] = field(default_factory=list)

    @property
    def addresses(self) -> frozenset[str]:
        """Every address that means it."""
        hello = self.hello
        return acceptance.addresses_of(
            agent_id=hello.agent_id,
            label=hello.label,
            tags=hello.tags,
            capabilities=hello.capabilities,
            broad=hello.broad,
        )

    def attends(self, delivery: Delivery) -> bool:
        """Say whether the instance that holds a delivery is on the bus."""
        return self.frames is not None and delivery.instance_id == self.hello.instance_id


class Members:
    """Every agent that ever said hello, by id."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.all: dict[str, Member] = {}

    def live(self) -> dict[str, Member]:
        """Return the agents that were not removed."""
        return {agent_id: member for agent_id, member in sorted(self.all.items()) if not member.removed}

    def get(self, agent_id: str) -> Member:
        """Return an agent that was not removed; raise `RelayNotFound` with the nearest name."""
        live = self.live()
        if agent_id not in live:
            raise acceptance.unknown_agent(agent_id, live)
        return live[agent_id]

    def target(self, text: str) -> str:
        """Return the id of the agent that this id, or its runner's, means."""
        live = self.live()
        found = next((agent_id for agent_id, m in live.items() if text in (agent_id, m.hello.runner_id)), None)
        if found is None:
            raise acceptance.unknown_agent(text, live)
        return found

    def current(self, agent_id: str, instance_id: str) -> Member:
        """Return an agent whose current instance this is; raise `ClaimLost` for an older one."""
        member = self.get(agent_id)
        if member.hello.instance_id != instance_id:
            raise ClaimLost(f"a newer instance of agent {agent_id} took over")
        member.last_seen_at = self._board.clock()
        return member

    def view(self, agent_id: str, queued: int) -> Agent:
        """Return an agent as others see it."""
        member = self.get(agent_id)
        hello, status = member.hello, member.status
        silent = member.last_seen_at + OFFLINE_AFTER_S <= self._board.clock()
        gone = member.frames is None and member.last_seen_at <= member.left_at
        status = replace(status, timeline=tuple(member.timeline[-TIMELINE_KEPT:]))
        if silent or gone:
            status = unheard(status)
        return Agent(
            id=agent_id,
            provider=hello.provider,
            label=hello.label,
            tags=hello.tags,
            capabilities=hello.capabilities,
            machine=hello.machine,
            instance_id=hello.instance_id,
            runner_id=hello.runner_id,
            connected=member.frames is not None,
            status=status,
            meta=hello.meta,
            queued=queued,
            last_seen_at=member.last_seen_at,
            created_at=member.created_at,
        )

    def join(self, hello: Hello, frames: Frames) -> None:
        """Make this the agent's current instance, and end the bus of the one before."""
        now = self._board.clock()
        member = self.all.get(hello.agent_id)
        if member is None:
            member = self.all[hello.agent_id] = Member(hello, hello.status, now, now)
        newer = hello.instance_id != member.hello.instance_id
        if newer and not member.removed and hello.instance_id in member.instances:
            raise ClaimLost(f"a newer runner of {hello.agent_id} took over (instance {member.hello.instance_id})")
        if member.frames is not None:
            if newer:
                member.frames.put_nowait(Superseded(by=hello.instance_id))
            member.frames.put_nowait(None)
        member.hello, member.status, member.frames, member.last_seen_at = hello, hello.status, frames, now
        member.removed = False
        member.instances.add(hello.instance_id)
        self._board.emit("agent", id=hello.agent_id, action="joined", instanceId=hello.instance_id)
        self._keep_timeline(member)

    def leave(self, agent_id: str, frames: Frames) -> None:
        """Note that a bus was closed, unless a newer one took its place."""
        member = self.all[agent_id]
        if member.frames is frames:
            member.frames, member.left_at = None, self._board.clock()
            self._board.emit("agent", id=agent_id, action="left")

    def put_status(self, agent_id: str, instance_id: str, status: Status) -> None:
        """Note an agent's status."""
        member = self.current(agent_id, instance_id)
        member.status = status
        self._board.emit("agent", id=agent_id, action="status")
        self._keep_timeline(member)

    def _keep_timeline(self, member: Member) -> None:
        """Keep and pass on what a status tells of the timeline and was not told before."""
        known = {event.id for event in member.timeline}
        for event in member.status.timeline:
            if event.id not in known:
                member.timeline.append(event)
                own = {"agentId": member.hello.agent_id, "id": event.id, "kind": event.kind, "happenedAt": event.at}
                self._board.emit("timeline", **{**event.data, **own})

    def remove(self, agent_id: str) -> None:
        """Retire an agent."""
        self.get(agent_id).removed = True
        self._board.emit("agent", id=agent_id, action="removed")
