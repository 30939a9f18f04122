"""A message that no relay knows: the first prompt of a start whose token speaks for the agent alone.

Nobody may say it to the relay in the person's name, and the agent does not write to itself. It takes the way of every
other message here, journal and evidence included; what the relay is told and asked of those is answered by `LocalMail`.
"""

from __future__ import annotations

import getpass
import time
from typing import Any, cast

from relay_runner.protocol import deliveries
from relay_runner.protocol.addresses import agent_principal, person_principal
from relay_runner.protocol.messages import LEASE_S, MESSAGE_TTL_S, Delivery, Message, Receipt, Release, State
from relay_runner.relay.base import Relay

LOCAL_ID = 0
"""A relay numbers from 1."""


def local_message(agent_id: str, body: str, now: float) -> Message:
    """Return what the person says who started the agent on this machine: the user's own word, as an operator's."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # this user has no name here
        login = "operator"
    return Message(
        id=LOCAL_ID,
        sender=person_principal(login),
        to=agent_principal(agent_id),
        body=body,
        created_at=now,
        expires_at=now + MESSAGE_TTL_S,
        operator=True,
    )


class LocalMail:
    """The relay as the message path sees it; what is no business of a local message goes to the real one."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    @classmethod
    def over(cls, relay: Relay) -> Relay:
        """Return a relay that answers for local messages, too."""
        return cast(Relay, cls(relay))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)

    async def receipt(self, message_id: int, receipt: Receipt) -> Delivery:
        """Take a report."""
        if message_id != LOCAL_ID:
            return await self._relay.receipt(message_id, receipt)
        return Delivery(
            message_id=message_id,
            recipient=agent_principal(receipt.agent_id),
            state=receipt.state,
            attempt=receipt.attempt,
            updated_at=time.time(),
        )

    async def release(self, message_id: int, release: Release) -> Delivery:
        """Queue it again as another attempt; the last one ends it."""
        if message_id != LOCAL_ID:
            return await self._relay.release(message_id, release)
        claimed = Delivery(
            message_id=message_id,
            recipient=agent_principal(release.agent_id),
            state=State.SUBMITTING,
            attempt=release.attempt,
            failures=release.attempt - 1,
            instance_id=release.instance_id,
        )
        return deliveries.release(claimed, release, time.time(), claimable=False)

    async def renew(self, message_id: int, request: Any) -> float:
        """Prolong a claim that nobody else could take."""
        if message_id != LOCAL_ID:
            return await self._relay.renew(message_id, request)
        return time.time() + (request.lease_s or LEASE_S)

    async def read(self, message_id: int) -> None:
        """Mark it as read."""
        if message_id != LOCAL_ID:
            await self._relay.read(message_id)
