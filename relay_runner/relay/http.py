"""A relay over HTTP and WebSocket: the embedded one of this machine, or one far away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self
from urllib.parse import quote

from msgspec.structs import asdict

from relay_runner.errors import ProtocolError
from relay_runner.protocol.agents import Agent, Status
from relay_runner.protocol.attachments import (
    INFO_HEADER,
    SHA256_HEADER,
    Attachment,
    AttachmentLimits,
    NewAttachment,
    safe_name,
)
from relay_runner.protocol.calls import API, Beat, Dropping, Redelivery, Renewal, StatusUpdate
from relay_runner.protocol.events import Event
from relay_runner.protocol.frames import Hello
from relay_runner.protocol.messages import (
    ClaimRequest,
    ClaimResult,
    Delivery,
    MessageQuery,
    MessageRecord,
    NewMessage,
    NewReaction,
    NewReply,
    Receipt,
    Release,
)
from relay_runner.protocol.wire import decode
from relay_runner.relay.base import Bus, Data, Download
from relay_runner.relay.bus import connect
from relay_runner.relay.desk import HttpDesk
from relay_runner.relay.endpoint import EndpointSource, fixed
from relay_runner.relay.wire import Raw, Wire, events

POLL_S = 1.0
"""How often a message is asked for where its changes cannot be streamed (through an agent's control server)."""

log = logging.getLogger(__name__)


class HttpRelay(HttpDesk):
    """Implements `relay.base.Relay`; `source` says where the relay is whenever that has to be asked."""

    def __init__(self, source: EndpointSource) -> None:
        self._wire = Wire(source)

    @classmethod
    def at(cls, url: str, token: str) -> HttpRelay:
        """Return the relay at a URL that stays the same."""
        return cls(fixed(url, token))

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._wire.__aexit__(*exc)

    def connect(self, hello: Hello) -> AbstractAsyncContextManager[Bus]:
        """Open the bus and say hello; entering waits for the welcome."""
        return connect(self._wire, hello)

    def use_token(self, token: str) -> None:
        """Use `token` for every later call and connection."""
        self._wire.use_token(token)

    def heal_with(self, heal: Callable[[], Awaitable[None]]) -> None:
        """Await `heal` whenever the relay takes the token in use no longer, and make the call once more."""
        self._wire.heal_with(heal)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def send(self, new: NewMessage) -> MessageRecord:
        """Post a message; it is durable when this returns."""
        once = new.idempotency_key is None
        return await self._wire.call("POST", f"{API}/messages", MessageRecord, new, once=once)

    async def message(self, message_id: int) -> MessageRecord:
        """Return one message with everything that became of it."""
        return await self._wire.call("GET", _message(message_id), MessageRecord)

    async def messages(self, query: MessageQuery) -> list[MessageRecord]:
        """Return the messages that `query` asks for."""
        return await self._wire.list_of(f"{API}/messages", MessageRecord, _parameters(query))

    async def watch(self, message_id: int) -> AsyncIterator[MessageRecord]:
        """Yield the message's record now and after every change of it, for ever."""
        async with self._wire.stream(_message(message_id)) as response:
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                async for data in events(response):
                    yield decode(data, MessageRecord)
                raise self._wire.ended("the relay ended the stream")
        last: MessageRecord | None = None
        while True:
            record = await self.message(message_id)
            if record != last:
                last = record
                yield record
            await asyncio.sleep(POLL_S)

    async def claim(self, message_id: int, request: ClaimRequest) -> ClaimResult:
        """Try to become the one who handles the message; "taken by another" is a result."""
        return await self._wire.call("POST", f"{_message(message_id)}/claim", ClaimResult, request)

    async def renew(self, message_id: int, request: ClaimRequest) -> float:
        """Return the claim's new expiry; raise `ClaimLost` where it is no longer ours."""
        return (await self._wire.call("POST", f"{_message(message_id)}/renew", Renewal, request)).claim_expires_at

    async def release(self, message_id: int, release: Release) -> Delivery:
        """Put a claimed delivery back into the queue (or, after the last attempt, among the dead)."""
        return await self._wire.call("POST", f"{_message(message_id)}/release", Delivery, release)

    async def receipt(self, message_id: int, receipt: Receipt) -> Delivery:
        """Report what became of a delivery; return it as the relay has it now."""
        return await self._wire.call("POST", f"{_message(message_id)}/receipt", Delivery, receipt)

    async def read(self, message_id: int) -> None:
        """Mark the caller's delivery of the message as read."""
        await self._wire.tell("POST", f"{_message(message_id)}/read")

    async def reply(self, message_id: int, reply: NewReply) -> MessageRecord:
        """Answer a message; the new message goes to its sender."""
        once = reply.idempotency_key is None
        return await self._wire.call("POST", f"{_message(message_id)}/reply", MessageRecord, reply, once=once)

    async def react(self, message_id: int, emoji: str) -> None:
        """Put an emoji on a message; the same one twice is one."""
        await self._wire.tell("POST", f"{_message(message_id)}/reactions", NewReaction(emoji=emoji))

    async def redeliver(self, message_id: int, agent_id: str | None = None) -> MessageRecord:
        """Queue a dead or unknown delivery again, as a new attempt. Needs the operator scope."""
        body = Redelivery(agent_id=agent_id)
        return await self._wire.call("POST", f"{_message(message_id)}/redeliver", MessageRecord, body)

    async def drop(self, message_id: int, agent_id: str | None = None) -> MessageRecord:
        """Give a queued or unknown delivery up: it is dead. Needs the operator scope."""
        body = Dropping(agent_id=agent_id)
        return await self._wire.call("POST", f"{_message(message_id)}/drop", MessageRecord, body)

    # --- attachments --------------------------------------------------------------------------------------------------

    async def attachment_limits(self) -> AttachmentLimits:
        """Return what the relay takes."""
        return await self._wire.call("GET", f"{API}/attachments", AttachmentLimits)

    async def upload(self, new: NewAttachment, data: Data) -> Attachment:
        """Give the relay a file, for a message that names it."""
        headers = {"Content-Type": new.content_type, "Content-Length": str(new.size)}
        if new.sha256 is not None:
            headers[SHA256_HEADER] = new.sha256
        body, query = Raw(data, headers), {"name": safe_name(new.name)}
        return await self._wire.call("POST", f"{API}/attachments", Attachment, body, query=query, once=True)

    @asynccontextmanager
    async def download(self, attachment_id: str) -> AsyncIterator[Download]:
        """Fetch a file that is the caller's, or of a message that the caller may read."""
        path = f"{API}/attachments/{quote(attachment_id, safe='')}"
        async with self._wire.stream(path, accept="*/*") as response:
            attachment = decode(response.headers.get(INFO_HEADER, ""), Attachment)
            yield Download(attachment, response.aiter_bytes())

    # --- agents -------------------------------------------------------------------------------------------------------

    async def agents(self) -> list[Agent]:
        """Return every agent that the relay knows, by id."""
        return await self._wire.list_of(f"{API}/agents", Agent)

    async def agent(self, agent_id: str) -> Agent:
        """Return one agent."""
        return await self._wire.call("GET", _agent(agent_id), Agent)

    async def obligations(self, agent_id: str) -> list[MessageRecord]:
        """Return what an agent has to answer, oldest first."""
        return await self._wire.list_of(f"{_agent(agent_id)}/obligations", MessageRecord)

    async def remove_agent(self, agent_id: str) -> None:
        """Retire an agent: it is listed no more; what is queued for it waits until its TTL, then is dead."""
        await self._wire.tell("DELETE", _agent(agent_id))

    async def put_status(self, agent_id: str, instance_id: str, status: Status) -> None:
        """Publish a status over HTTP: the backstop for a silent bus. Raise `ClaimLost` when superseded."""
        update = StatusUpdate(instance_id=instance_id, status=status)
        await self._wire.tell("PUT", f"{_agent(agent_id)}/status", update)

    async def heartbeat(self, agent_id: str, instance_id: str) -> None:
        """Say over HTTP that the runner lives. Raise `ClaimLost` when superseded."""
        await self._wire.tell("POST", f"{_agent(agent_id)}/heartbeat", Beat(instance_id=instance_id))

    # --- the relay itself ---------------------------------------------------------------------------------------------

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield what happens on the relay, from after `after` (a `seq`) or from now on."""
        query = {} if after is None else {"after": str(after)}
        async with self._wire.stream(f"{API}/events", **query) as response:
            async for data in events(response):
                try:
                    event = decode(data, Event)
                except ProtocolError as error:
                    log.error("skipped an event from the relay: %s", error)
                else:
                    yield event
        raise self._wire.ended("the relay ended the stream")

    async def health(self) -> dict[str, object]:
        """Return what `/healthz` says: status, version, protocol, counts."""
        return await self._wire.call("GET", "/healthz", dict[str, object])


def _message(message_id: int) -> str:
    return f"{API}/messages/{message_id}"


def _agent(agent_id: str) -> str:
    return f"{API}/agents/{quote(agent_id, safe='')}"


def _parameters(query: MessageQuery) -> dict[str, str]:
    """Return a query as the parameters of a URL."""
    values: dict[str, Any] = asdict(query)
    states = ",".join(values.pop("states"))
    names = {"reply_to": "replyTo", "oldest_first": "oldestFirst"}
    found = {names.get(name, name): value for name, value in values.items() if value not in (None, False)}
    texts = {name: "true" if value is True else str(value) for name, value in found.items()}
    return {**texts, "states": states} if states else texts
