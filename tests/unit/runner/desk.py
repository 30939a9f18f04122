"""An inbox with its neighbours (presence, receipts, claims, flights), a relay in memory, and a scripted provider."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from relay_runner.protocol.budgets import Budgets
from relay_runner.protocol.frames import Hello, MessageNew, ServerFrame
from relay_runner.protocol.messages import LEASE_S, Delivery, NewMessage, Outcome, State, Timing
from relay_runner.providers.base import (
    Capabilities,
    Event,
    ProcessState,
    Seen,
    StateChanged,
    Submission,
    TurnEnded,
)
from relay_runner.relay.base import Relay
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.attachments import AttachmentCache
from relay_runner.runner.claims import Claims
from relay_runner.runner.continuing import Continuing
from relay_runner.runner.flights import Flights
from relay_runner.runner.holding import Holding
from relay_runner.runner.inbox import Inbox
from relay_runner.runner.journal import Journal
from relay_runner.runner.limits import HELD, LEAST_S
from relay_runner.runner.obstacles import Obstacles
from relay_runner.runner.presence import Presence
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.refusing import Refusing
from relay_runner.runner.reminding import Reminding
from relay_runner.runner.waits import Waits
from relay_runner.runner.work import Work
from tests.scripted import Script, ScriptedProcess, takes_it

ALL = Capabilities(evidence=True, results=True, steer=True, interrupt=True)


class Desk:
    """One agent's message path, from the relay to the scripted provider and back."""

    def __init__(
        self,
        journal: Journal,
        operator: MemoryRelay,
        agent_id: str = "bob",
        *,
        script: Script = takes_it,
        capabilities: Capabilities = ALL,
        evidence_s: float = 30.0,
        instance_id: str = "i1",
        lease_s: float = LEASE_S,
        relay: Relay | None = None,
        least_hold_s: float = LEAST_S,
        budgets: Budgets | None = None,
    ) -> None:
        self.operator = operator
        self.agent_id = agent_id
        self.instance_id = instance_id
        self.relay = relay or MemoryRelay.of_agent(agent_id, operator.hub)
        self.journal = journal
        self.joined = asyncio.Event()
        self.work = Work()
        self.superseded: list[str] = []
        self.claims = Claims(self.relay, agent_id, instance_id, lease_s=lease_s)
        self.receipts = Receipts(self.relay, journal, agent_id, instance_id, self.joined)
        self.presence = Presence(
            self.relay,
            agent_id=agent_id,
            instance_id=instance_id,
            work=self.work,
            joined=self.joined,
            hello=self._hello,
            on_frame=self._frame,
            on_backlog=lambda records: self.inbox.offer_all(records),
            on_superseded=self.superseded.append,
        )
        self.flights = Flights(
            journal=journal,
            claims=self.claims,
            receipts=self.receipts,
            work=self.work,
            capabilities=capabilities,
            publish=self.presence.publish,
            evidence_s=evidence_s,
        )
        at_relay: dict[str, Any] = {
            "relay": self.relay,
            "journal": journal,
            "claims": self.claims,
            "receipts": self.receipts,
        }
        publish = self.presence.publish
        self.holding = Holding(**at_relay, work=self.work, publish=publish, least_s=least_hold_s)
        self.refusing = Refusing(**at_relay, budgets=budgets or Budgets(), agent_id=agent_id)
        self.obstacles = Obstacles(self.work, publish)
        self.continuing = Continuing(
            **at_relay,
            flights=self.flights,
            holding=self.holding,
            refusing=self.refusing,
            obstacles=self.obstacles,
        )
        self.reminding = Reminding(
            relay=self.relay, journal=journal, receipts=self.receipts, flights=self.flights, agent_id=agent_id
        )
        self.inbox = Inbox(
            **at_relay,
            reminding=self.reminding,
            flights=self.flights,
            holding=self.holding,
            waits=Waits(self.work),
            refusing=self.refusing,
            continuing=self.continuing,
            obstacles=self.obstacles,
            capabilities=capabilities,
            agent_id=agent_id,
            attachments=AttachmentCache(self.relay, journal._path.with_suffix(".attachments")),
            joined=self.joined,
        )
        self.process = ScriptedProcess(self.emit, script)
        self.meta: dict[str, str] = {}

    def _hello(self) -> Hello:
        return Hello(
            agent_id=self.agent_id, instance_id=self.instance_id, runner_id="r", provider="scripted", machine="here",
            version="0", tags=("worker",), meta=dict(self.meta),
        )  # fmt: skip

    def _frame(self, frame: ServerFrame) -> None:
        if isinstance(frame, MessageNew):
            self.inbox.offer(frame.message, frame.delivery)

    def emit(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            self.work.provider(event.state)
        self.inbox.event(event)

    @contextlib.asynccontextmanager
    async def running(self, process_id: str | None = "p1") -> AsyncIterator[None]:
        """Run all services; a process is attached unless `process_id` is None."""
        services = (self.presence.run(), self.inbox.run(), self.receipts.run(), self.claims.run())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(service) for service in services]
            await asyncio.wait_for(self.joined.wait(), 10)
            if process_id is not None:
                await self.inbox.attach(self.process, process_id)
            yield
            for task in tasks:
                task.cancel()

    # --- what a sender and a provider do ---

    async def send(
        self,
        body: str = "hi",
        *,
        to: str | None = None,
        timing: Timing = Timing.QUEUE,
        claimable: bool = False,
        **more: Any,
    ) -> int:
        new = NewMessage(to=to or self.agent_id, body=body, timing=timing, claimable=claimable, **more)
        return (await self.operator.send(new)).message.id

    async def delivery(self, id: int) -> Delivery:
        (delivery,) = (await self.operator.message(id)).deliveries
        return delivery

    async def reaches(self, id: int, state: State) -> Delivery:
        """Wait until the relay has the delivery in this state."""
        async with asyncio.timeout(10):
            async for record in self.operator.watch(id):
                if record.deliveries[0].state is state:
                    return record.deliveries[0]
        raise AssertionError("the relay stopped telling")

    async def held(self, id: int) -> Delivery:
        """Wait until the relay says that the delivery is held by a limit."""
        async with asyncio.timeout(10):
            async for record in self.operator.watch(id):
                if (record.deliveries[0].held or "").startswith(HELD):
                    return record.deliveries[0]
        raise AssertionError("the relay stopped telling")

    def sees(self, submission: Submission) -> None:
        """The provider proves that it has the message and works on it."""
        self.process._state = ProcessState.BUSY
        self.emit(StateChanged(ProcessState.BUSY, "script"))
        self.process.emit(Seen(submission.nonce, "script"))

    def ends(self, submission: Submission, outcome: Outcome = Outcome.COMPLETED, result: str = "text") -> None:
        """The provider ends the turn that carried the message."""
        self.process._state = ProcessState.IDLE
        self.emit(TurnEnded(outcome, "script", (submission.nonce,), result))
        self.emit(StateChanged(ProcessState.IDLE, "script"))
