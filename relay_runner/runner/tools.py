"""The agent's verbs as tools of its model: what the control server's proxy lets it do, and nothing else.

Everything is done as the agent, with the runner's token. A call is done once: what came of it is journalled, and what
sends carries the call's key to the relay, which knows it for 24 h. A call that is asked again after that, and whose
end nobody wrote down, is not done again: it may have been sent.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from relay_runner.errors import ProtocolError, RelayRunnerError, RelayUnavailable
from relay_runner.protocol.addresses import Address
from relay_runner.protocol.agents import Agent
from relay_runner.protocol.envelope import NONCE_BYTES, defuse, sanitise_line
from relay_runner.protocol.messages import MessageQuery, MessageRecord, NewMessage, NewReply, Timing
from relay_runner.protocol.wire import Wire, convert, decode, encode
from relay_runner.providers.base import Tool, ToolCall, ToolResult
from relay_runner.relay.base import Relay
from relay_runner.relay.uploading import give, look
from relay_runner.runner.attachments import AttachmentCache
from relay_runner.runner.enveloping import rendered
from relay_runner.runner.journal import Journal

log = logging.getLogger(__name__)

FACT = "tool:"
KNOWN_S = 23 * 3600.0
"""For how long a key is surely known to the relay (24 h)."""
RELAY_S = 30.0
"""How long a relay that is away is waited for."""
RETRY_S = 1.0
LISTED = 30
PREVIEW_CHARS = 200
UNKNOWN = "It may or may not have been done: look with relay_inbox and relay_agents before you do it again."


class Known(Wire, frozen=True, kw_only=True):
    """What is known of a call; without a text it was only begun."""

    at: float
    """When it was begun first."""
    text: str | None = None
    success: bool = True


class Send(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of relay_send."""

    to: str
    text: str
    subject: str | None = None
    reply_required: bool = False
    timing: Timing = Timing.QUEUE
    attach: tuple[str, ...] = ()


class Reply(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of relay_reply."""

    id: int
    text: str
    attach: tuple[str, ...] = ()


class React(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of relay_react."""

    id: int
    emoji: str


class Read(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of relay_read."""

    id: int


class Inbox(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of relay_inbox."""

    all: bool = False


class Nothing(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No arguments."""


TEXT = {"type": "string"}
ID = {"type": "integer", "description": "The message's number."}
FILES = {"type": "array", "items": TEXT, "description": "Paths of files that go with it, in the folder you work in."}


def _tool(name: str, description: str, properties: Mapping[str, Any], *required: str) -> Tool:
    schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return Tool(name, description, {**schema, "required": list(required)} if required else schema)


OFFERED = (
    _tool(
        "relay_send",
        "Send a message to another agent or a person. It waits for them if they are away.",
        {
            "to": {**TEXT, "description": "An agent's id, person:NAME, label:NAME, tag:NAME, cap:NAME or broadcast."},
            "text": TEXT,
            "subject": {**TEXT, "description": "One line about it."},
            "replyRequired": {"type": "boolean", "description": "Ask for a reply."},
            "attach": FILES,
            "timing": {"type": "string", "enum": [str(one) for one in Timing], "description": "Default: queue."},
        },
        "to", "text",
    ),
    _tool(
        "relay_reply",
        "Answer a message; the answer goes to its sender.",
        {"id": ID, "text": TEXT, "attach": FILES},
        "id", "text",
    ),
    _tool("relay_react", "Put an emoji on a message, without words.", {"id": ID, "emoji": TEXT}, "id", "emoji"),
    _tool("relay_read", "Read a message and see what became of it.", {"id": ID}, "id"),
    _tool(
        "relay_inbox",
        "List the messages for you, the newest first.",
        {"all": {"type": "boolean", "description": "Also those that you have read."}},
    ),
    _tool("relay_agents", "List the agents on the relay, and what they do.", {}),
)  # fmt: skip


class RelayTools:
    """See `providers.base.Tools`."""

    offered = OFFERED

    def __init__(
        self,
        relay: Relay,
        journal: Journal,
        agent_id: str,
        *,
        cwd: Path,
        attachments: AttachmentCache,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._cwd = cwd
        self._attachments = attachments
        self._relay = relay
        self._journal = journal
        self._agent_id = agent_id
        self._now = now
        self._verbs: dict[str, Callable[[str, Mapping[str, Any]], Awaitable[str]]] = {
            "relay_send": self._send,
            "relay_reply": self._reply,
            "relay_react": self._react,
            "relay_read": self._read,
            "relay_inbox": self._inbox,
            "relay_agents": self._agents,
        }

    async def call(self, call: ToolCall) -> ToolResult:
        """Do one call, at most once; see `Tools.call`."""
        known = self._known(call.key)
        if known is not None and known.text is not None:
            return ToolResult(known.text, success=known.success)
        begun = known or Known(at=self._now())
        if self._now() - begun.at > KNOWN_S:
            return ToolResult(f"This call was begun long ago. {UNKNOWN}", success=False)
        self._note(call.key, begun)
        try:
            result = ToolResult(await self._patiently(call))
        except RelayUnavailable as error:
            result = ToolResult(f"{error.message}. {UNKNOWN}", success=False)
        except RelayRunnerError as error:
            result = ToolResult(sanitise_line(str(error), 1000), success=False)
        self._note(call.key, Known(at=begun.at, text=result.text, success=result.success))
        return result

    async def _patiently(self, call: ToolCall) -> str:
        """Do it; what the relay could not be asked for is asked again under the same key."""
        verb = self._verbs.get(call.name)
        if verb is None:
            raise ProtocolError(f"there is no tool {call.name!r}")
        deadline = self._now() + RELAY_S
        while True:
            try:
                return await verb(call.key, call.arguments)
            except RelayUnavailable as error:
                if self._now() > deadline:
                    raise
                log.info("%s: %s", call.name, error)
                await asyncio.sleep(RETRY_S)

    # --- what was done ------------------------------------------------------------------------------------------------

    def _known(self, key: str) -> Known | None:
        text = self._journal.fact(FACT + key)
        return decode(text, Known) if text is not None else None

    def _note(self, key: str, known: Known) -> None:
        self._journal.remember(FACT + key, encode(known).decode())

    # --- the verbs ----------------------------------------------------------------------------------------------------

    async def _send(self, key: str, arguments: Mapping[str, Any]) -> str:
        given = convert(dict(arguments), Send)
        new = NewMessage(
            to=str(Address.parse(given.to)),
            body=given.text,
            subject=given.subject,
            reply_required=given.reply_required,
            timing=given.timing,
            attachments=await self._give(given.attach),
            idempotency_key=key,
        )
        return _sent(await self._relay.send(new))

    async def _reply(self, key: str, arguments: Mapping[str, Any]) -> str:
        given = convert(dict(arguments), Reply)
        ids = await self._give(given.attach)
        return _sent(await self._relay.reply(given.id, NewReply(body=given.text, attachments=ids, idempotency_key=key)))

    async def _give(self, names: Sequence[str]) -> tuple[str, ...]:
        """Upload files of the agent's own folder, or that came to it: what it could read without asking."""
        if not names:
            return ()
        paths = [str(self._cwd / name) for name in names]
        allowed = [self._cwd.resolve(), self._attachments.folder.resolve()]
        return await give(self._relay, await asyncio.to_thread(look, paths, allowed=allowed))

    async def _react(self, key: str, arguments: Mapping[str, Any]) -> str:
        given = convert(dict(arguments), React)
        await self._relay.react(given.id, given.emoji)
        return f"{given.emoji} is on message {given.id}."

    async def _read(self, key: str, arguments: Mapping[str, Any]) -> str:
        given = convert(dict(arguments), Read)
        record = await self._relay.message(given.id)
        if any(one.recipient == self._me for one in record.deliveries):
            await self._relay.read(given.id)
        files = await self._attachments.fetch(record.message)
        envelope = await rendered(record.message, secrets.token_urlsafe(NONCE_BYTES), files)
        return "\n".join([envelope, *_became(record)])

    async def _inbox(self, key: str, arguments: Mapping[str, Any]) -> str:
        given = convert(dict(arguments), Inbox)
        query = MessageQuery(recipient=self._me, unread=not given.all, limit=LISTED)
        records = await self._relay.messages(query)
        return "\n".join(map(_headline, records)) or "There are no messages for you."

    async def _agents(self, key: str, arguments: Mapping[str, Any]) -> str:
        convert(dict(arguments), Nothing)
        return "\n".join(_line(agent, self._agent_id) for agent in await self._relay.agents())

    @property
    def _me(self) -> str:
        return f"agent:{self._agent_id}"


def _sent(record: MessageRecord) -> str:
    message = record.message
    return f"Message {message.id} is on its way to {message.to}."


def _became(record: MessageRecord) -> list[str]:
    """Return a line for each delivery, and where the replies are."""
    lines = []
    for one in record.deliveries:
        words = [str(one.state), *([str(one.outcome)] if one.outcome else []), *([one.reason] if one.reason else [])]
        lines.append(sanitise_line(f"{one.recipient or 'nobody yet'}: {', '.join(words)}", 500))
    if record.replies:
        lines.append(f"replies: {', '.join(map(str, record.replies))}")
    return lines


def _headline(record: MessageRecord) -> str:
    message = record.message
    text = defuse(sanitise_line(message.subject or message.body, PREVIEW_CHARS))
    return f"{message.id} from {message.sender}: {text}"


def _line(agent: Agent, me: str) -> str:
    words = [agent.id + (" (you)" if agent.id == me else ""), str(agent.provider), str(agent.status.agent_status)]
    words += [f"label {agent.label}"] if agent.label else []
    words += [f"tags {', '.join(agent.tags)}"] if agent.tags else []
    return sanitise_line(" - ".join(words), 500)
