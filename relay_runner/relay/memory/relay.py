"""A relay without a server, for tests: the whole interface, over a `Hub` that several relays may share.

hub = Hub(clock)
operator, bob = MemoryRelay(hub), MemoryRelay.of_agent("bob", hub)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from relay_runner import __version__
from relay_runner.errors import RelayNotFound, RelayRefused
from relay_runner.protocol import acceptance, deliveries
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import Kind, agent_principal
from relay_runner.protocol.agents import Agent, Status
from relay_runner.protocol.attachments import Attachment, AttachmentLimits, NewAttachment
from relay_runner.protocol.events import Event
from relay_runner.protocol.frames import (
    Hello,
    Welcome,
)
from relay_runner.protocol.messages import (
    ClaimRequest,
    ClaimResult,
    Delivery,
    MessageQuery,
    MessageRecord,
    NewMessage,
    NewReply,
    Reaction,
    Receipt,
    Release,
)
from relay_runner.protocol.tokens import (
    ADMIN,
    AGENT_PROFILE,
    OPERATOR,
    SEND,
    agent_scope,
)
from relay_runner.protocol.wire import PROTOCOL_VERSION
from relay_runner.relay.base import Data, Download
from relay_runner.relay.memory.bus import MemoryBus
from relay_runner.relay.memory.desk import MemoryDesk
from relay_runner.relay.memory.healing import Heal, healing
from relay_runner.relay.memory.hub import Hub
from relay_runner.relay.memory.members import Frames

FOREVER_S = 10 * 365 * 24 * 3600.0


@healing("renew_token", "who_am_i")
class MemoryRelay(MemoryDesk):
    """Implements `relay.base.Relay`; without a `caller` it is an operator's, with every scope."""

    def __init__(self, hub: Hub | None = None, caller: Caller | None = None) -> None:
        self.hub = hub or Hub()
        caller = caller or Caller("person:operator", frozenset({SEND, OPERATOR, ADMIN}), profile_id="relay-operator")
        self._token = self.hub.ledger.grant(caller, FOREVER_S).token
        self._heal: Heal | None = None

    @classmethod
    def of_agent(cls, agent_id: str, hub: Hub) -> MemoryRelay:
        """Return the relay as that agent's runner sees it."""
        return cls(
            hub, Caller(agent_principal(agent_id), frozenset({agent_scope(agent_id), SEND}), profile_id=AGENT_PROFILE)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    def use_token(self, token: str) -> None:
        """Use `token` for every later call and connection."""
        self._token = token

    def heal_with(self, heal: Heal) -> None:
        """Await `heal` whenever the token in use is no longer taken, and make the call once more."""
        self._heal = heal

    @asynccontextmanager
    async def connect(self, hello: Hello) -> AsyncIterator[MemoryBus]:
        """Open the bus and say hello."""
        self._caller.need_agent(hello.agent_id)
        if hello.protocol != PROTOCOL_VERSION:
            raise RelayRefused(f"this relay speaks protocol {PROTOCOL_VERSION}, not {hello.protocol}", code="version")
        frames: Frames = asyncio.Queue()
        inherited = self.hub.join(hello, frames)
        for decision in self.hub.questions.decided(hello.agent_id):
            frames.put_nowait(decision)
        welcome = Welcome(version=__version__, protocol=PROTOCOL_VERSION, at=self.hub.clock(), inherited=inherited)
        try:
            with self.hub.ledger.bus_of(self._caller.jti, frames):
                yield MemoryBus(self.hub, hello, frames, welcome)
        finally:
            self.hub.members.leave(hello.agent_id, frames)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def send(self, new: NewMessage) -> MessageRecord:
        """Post a message."""
        return self.hub.mail.accept(self._caller, new)

    async def message(self, message_id: int) -> MessageRecord:
        """Return one message with everything that became of it."""
        return self.hub.mail.record(self._caller, message_id)

    async def messages(self, query: MessageQuery) -> list[MessageRecord]:
        """Return the messages that `query` asks for."""
        return self.hub.mail.records(self._caller, query)

    async def watch(self, message_id: int) -> AsyncIterator[MessageRecord]:
        """Yield the message's record now and after every change of it, for ever."""
        last: MessageRecord | None = None
        with self.hub.board.listening() as changed:
            while True:
                changed.clear()
                record = await self.message(message_id)
                if record != last:
                    last = record
                    yield record
                await changed.wait()

    async def claim(self, message_id: int, request: ClaimRequest) -> ClaimResult:
        """Try to become the one who handles the message."""
        self._speak_for(request.agent_id, request.instance_id)
        entry, index = self.hub.mail.find(message_id, request.agent_id)
        result = deliveries.claim(entry.deliveries[index], request, self.hub.clock())
        if result.granted and result.delivery is not None:
            self.hub.mail.put(entry, index, result.delivery)
        return result

    async def renew(self, message_id: int, request: ClaimRequest) -> float:
        """Return the claim's new expiry."""
        self._speak_for(request.agent_id, request.instance_id)
        entry, index = self.hub.mail.find(message_id, request.agent_id)
        delivery = self.hub.mail.put(entry, index, deliveries.renew(entry.deliveries[index], request, self.hub.clock()))
        return delivery.claim_expires_at or 0.0

    async def release(self, message_id: int, release: Release) -> Delivery:
        """Put a claimed delivery back into the queue."""
        self._speak_for(release.agent_id, release.instance_id)
        entry, index = self.hub.mail.find(message_id, release.agent_id)
        claimable, now = entry.message.claimable, self.hub.clock()
        return self.hub.mail.put(
            entry, index, deliveries.release(entry.deliveries[index], release, now, claimable=claimable)
        )

    async def receipt(self, message_id: int, receipt: Receipt) -> Delivery:
        """Report what became of a delivery."""
        self._speak_for(receipt.agent_id, receipt.instance_id)
        entry, index = self.hub.mail.find(message_id, receipt.agent_id)
        claimable, now = entry.message.claimable, self.hub.clock()
        return self.hub.mail.put(
            entry, index, deliveries.apply_receipt(entry.deliveries[index], receipt, now, claimable=claimable)
        )

    async def read(self, message_id: int) -> None:
        """Mark the caller's delivery of the message as read."""
        caller = self._caller
        entry = self.hub.mail.entry(message_id)
        for index, delivery in enumerate(entry.deliveries):
            if delivery.recipient is not None and caller.is_(delivery.recipient):
                person = delivery.recipient.startswith(f"{Kind.PERSON}:")
                self.hub.mail.put(entry, index, deliveries.mark_read(delivery, self.hub.clock(), person=person))
                return
        raise RelayNotFound(f"message {message_id} was not delivered to {caller.subject}")

    async def reply(self, message_id: int, reply: NewReply) -> MessageRecord:
        """Answer a message."""
        message = self.hub.mail.visible(self._caller, message_id).message
        if message.sender == self._caller.subject:
            raise RelayRefused(f"message {message_id} is your own", hint="reply to what others sent", status=422)
        new = NewMessage(
            to=message.sender,
            body=reply.body,
            subject=reply.subject,
            reply_to=message_id,
            attachments=reply.attachments,
            idempotency_key=reply.idempotency_key,
        )
        return await self.send(new)

    async def react(self, message_id: int, emoji: str) -> None:
        """Put an emoji on a message; the same one twice is one."""
        emoji = acceptance.check_emoji(emoji)
        self.hub.mail.visible(self._caller, message_id)
        reactions = self.hub.mail.entry(message_id).reactions
        subject = self._caller.subject
        if not any(known.sender == subject and known.emoji == emoji for known in reactions):
            reactions.append(Reaction(sender=subject, emoji=emoji, created_at=self.hub.clock()))
            self.hub.board.emit("reaction", messageId=message_id, emoji=emoji)

    async def redeliver(self, message_id: int, agent_id: str | None = None) -> MessageRecord:
        """Queue a dead or unknown delivery again."""
        self._caller.need_operator()
        return self.hub.mail.redeliver(self._caller, message_id, agent_id)

    async def drop(self, message_id: int, agent_id: str | None = None) -> MessageRecord:
        """Give a queued or unknown delivery up."""
        self._caller.need_operator()
        return self.hub.mail.drop(self._caller, message_id, agent_id)

    # --- attachments --------------------------------------------------------------------------------------------------

    async def attachment_limits(self) -> AttachmentLimits:
        """Return what the relay takes."""
        return AttachmentLimits(max_bytes=self.hub.files.limit)

    async def upload(self, new: NewAttachment, data: Data) -> Attachment:
        """Give the relay a file, for a message that names it."""
        return await self.hub.files.put(self._caller, new, data)

    @asynccontextmanager
    async def download(self, attachment_id: str) -> AsyncIterator[Download]:
        """Fetch a file that is the caller's, or of a message that the caller may read."""
        attachment = self.hub.files.visible(self._caller, attachment_id)
        content = self.hub.files.content(attachment_id)

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(content), 65536):
                yield content[start : start + 65536]

        yield Download(attachment, chunks())

    # --- agents -------------------------------------------------------------------------------------------------------

    async def agents(self) -> list[Agent]:
        """Return every agent that the relay knows, by id."""
        return [self.hub.agent(agent_id) for agent_id in self.hub.members.live()]

    async def agent(self, agent_id: str) -> Agent:
        """Return one agent."""
        return self.hub.agent(agent_id)

    async def obligations(self, agent_id: str) -> list[MessageRecord]:
        """Return what an agent has to answer, oldest first."""
        if not self._caller.operates:
            self._caller.need_agent(agent_id)
        self.hub.agent(agent_id)
        return [self.hub.mail.record(self._caller, id) for id in self.hub.mail.owed(agent_id)]

    async def remove_agent(self, agent_id: str) -> None:
        """Retire an agent."""
        if not self._caller.operates:
            self._caller.need_agent(agent_id)
        self.hub.members.remove(agent_id)
        self.hub.questions.withdraw_all(agent_id)

    async def put_status(self, agent_id: str, instance_id: str, status: Status) -> None:
        """Publish a status."""
        self._speak_for(agent_id, instance_id)
        self.hub.members.put_status(agent_id, instance_id, status)

    async def heartbeat(self, agent_id: str, instance_id: str) -> None:
        """Say that the runner lives."""
        self._speak_for(agent_id, instance_id)

    # --- the relay itself ---------------------------------------------------------------------------------------------

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield what happens on the relay."""
        last = len(self.hub.board.log) if after is None else after
        with self.hub.board.listening() as changed:
            while True:
                changed.clear()
                for event in self.hub.board.log[last:]:
                    last = event.seq
                    yield event
                await changed.wait()

    async def health(self) -> dict[str, object]:
        """Return what a relay says of itself."""
        return {
            "status": "ok",
            "version": __version__,
            "protocol": PROTOCOL_VERSION,
            "agents": len(self.hub.members.live()),
        }
