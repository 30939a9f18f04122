"""The way of a message through this runner, put together: claimed, held or refused, handed over, watched, reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from relay_runner.config import AgentPaths
from relay_runner.providers.base import Capabilities, Process
from relay_runner.relay.base import Relay
from relay_runner.runner.attachments import AttachmentCache
from relay_runner.runner.claims import Claims
from relay_runner.runner.continuing import Continuing
from relay_runner.runner.flights import Flights
from relay_runner.runner.holding import Holding
from relay_runner.runner.identity import Identity
from relay_runner.runner.inbox import Inbox
from relay_runner.runner.journal import Journal
from relay_runner.runner.local import LocalMail
from relay_runner.runner.obstacles import Obstacles
from relay_runner.runner.options import RunnerOptions
from relay_runner.runner.overtime import Overtime
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.refusing import Refusing
from relay_runner.runner.reminding import Reminding
from relay_runner.runner.waits import Waits
from relay_runner.runner.work import Work


class Delivering:
    """The parts that know each other."""

    def __init__(
        self,
        relay: Relay,
        journal: Journal,
        *,
        options: RunnerOptions,
        identity: Identity,
        paths: AgentPaths,
        work: Work,
        capabilities: Capabilities,
        joined: asyncio.Event,
        process: Callable[[], Process | None],
        publish: Callable[[], None],
    ) -> None:
        agent_id, instance_id = options.agent_id, identity.instance_id
        relay = LocalMail.over(relay)
        self.claims = Claims(relay, agent_id, instance_id)
        self.receipts = Receipts(relay, journal, agent_id, instance_id, joined)
        self.flights = Flights(
            journal=journal,
            claims=self.claims,
            receipts=self.receipts,
            work=work,
            capabilities=capabilities,
            publish=publish,
        )
        at_relay: dict[str, Any] = {
            "relay": relay,
            "journal": journal,
            "claims": self.claims,
            "receipts": self.receipts,
        }
        obstacles = Obstacles(work, publish)
        holding = Holding(**at_relay, work=work, publish=publish, least_s=options.least_hold_s)
        self.refusing = Refusing(**at_relay, budgets=options.budgets, agent_id=agent_id)
        self.reminding = Reminding(
            relay=relay, journal=journal, receipts=self.receipts, flights=self.flights, agent_id=agent_id
        )
        self.attachments = AttachmentCache(relay, paths.attachments)
        self.inbox = Inbox(
            **at_relay,
            flights=self.flights,
            capabilities=capabilities,
            agent_id=agent_id,
            attachments=self.attachments,
            joined=joined,
            holding=holding,
            waits=Waits(work),
            refusing=self.refusing,
            reminding=self.reminding,
            obstacles=obstacles,
            continuing=Continuing(
                **at_relay, flights=self.flights, holding=holding, refusing=self.refusing, obstacles=obstacles
            ),
        )
        self._overtime = Overtime(options.turn_timeout_s, flights=self.flights, journal=journal, process=process)

    def services(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Return what runs for as long as the runner does, by name."""
        return {
            "inbox": self.inbox.run(),
            "receipts": self.receipts.run(),
            "claims": self.claims.run(),
            "overtime": self._overtime.run(),
        }
