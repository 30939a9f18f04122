"""A relay without a server, for tests: the whole interface, over a `Hub` that several relays may share.

hub = Hub(clock)
operator, bob = MemoryRelay(hub), MemoryRelay.of_agent("bob", hub)
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from msgspec.structs import replace

from relay_runner import __version__
from relay_runner.errors import ClaimLost, RelayNotFound, RelayRefused, RelayUnavailable
from relay_runner.protocol import acceptance, deliveries
from relay_runner.protocol.access import Caller
from relay_runner.protocol.addresses import Kind, agent_principal
from relay_runner.protocol.agents import Agent, Status
from relay_runner.protocol.commands import (
    Command,
    CommandState,
    CommandUpdate,
    NewCommand,
    NewTask,
    Task,
    TaskUpdate,
)
from relay_runner.protocol.events import Event
from relay_runner.protocol.frames import (
    ClientFrame,
    CommandFrame,
    Heartbeat,
    Hello,
    ServerFrame,
    StatusFrame,
    Superseded,
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
from relay_runner.protocol.tokens import ADMIN, OPERATOR, SEND, TokenGrant, TokenRequest, agent_scope
from relay_runner.protocol.wire import PROTOCOL_VERSION
from relay_runner.relay.hub import Frames, Hub, illegal

FOREVER_S = 10 * 365 * 24 * 3600.0
GRACE_S = 600.0
NO_MORE = frozenset({CommandState.SUCCEEDED, CommandState.FAILED})


class MemoryBus:
    """Implements `relay.base.Bus` over a queue."""

    def __init__(self, hub: Hub, hello: Hello, frames: Frames, welcome: Welcome) -> None:
        self._hub = hub
        self._hello = hello
        self._frames = frames
        self._welcome = welcome

    @property
    def welcome(self) -> Welcome:
        """What the relay answered to our hello."""
        return self._welcome

    async def send(self, frame: ClientFrame) -> None:
        """Take one frame; raise `RelayUnavailable` where the bus was closed."""
        try:
            member = self._hub.current(self._hello.agent_id, self._hello.instance_id)
        except ClaimLost as error:
            raise RelayUnavailable("the bus ended: superseded") from error
        if member.frames is not self._frames:
            raise RelayUnavailable("the bus ended")
        if isinstance(frame, StatusFrame):
            member.status = frame.status
            self._hub.emit("agent", id=self._hello.agent_id, action="status")
        elif isinstance(frame, Heartbeat) and frame.meta:
            member.hello = replace(member.hello, meta=frame.meta)

    async def __aiter__(self) -> AsyncIterator[ServerFrame]:
        while True:
            frame = await self._next()
            if frame is None:
                raise RelayUnavailable("the bus ended")
            yield frame

    async def _next(self) -> ServerFrame | None:
        """Return the next frame; the clock is looked at whenever a lease or a delay ends meanwhile."""
        while True:
            due = self._hub.next_due()
            try:
                async with asyncio.timeout(None if due is None else max(0.01, due - self._hub.clock())):
                    return await self._frames.get()
            except TimeoutError:
                self._hub.sweep()


class MemoryRelay:
    """Implements `relay.base.Relay`; without a `caller` it is an operator's, with every scope."""

    def __init__(self, hub: Hub | None = None, caller: Caller | None = None) -> None:
        self.hub = hub or Hub()
        caller = caller or Caller("person:operator", frozenset({SEND, OPERATOR, ADMIN}), profile_id="relay-operator")
        now = self.hub.clock()
        self._token = self.hub.mint(_dated(caller, secrets.token_hex(8), now, now + FOREVER_S))

    @classmethod
    def of_agent(cls, agent_id: str, hub: Hub) -> MemoryRelay:
        """Return the relay as that agent's runner sees it."""
        return cls(hub, Caller(agent_principal(agent_id), frozenset({agent_scope(agent_id), SEND})))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    @property
    def _caller(self) -> Caller:
        return self.hub.holder(self._token)

    def use_token(self, token: str) -> None:
        """Use `token` for every later call and connection."""
        self._token = token

    @asynccontextmanager
    async def connect(self, hello: Hello) -> AsyncIterator[MemoryBus]:
        """Open the bus and say hello."""
        self._caller.need_agent(hello.agent_id)
        if hello.protocol != PROTOCOL_VERSION:
            raise RelayRefused(f"this relay speaks protocol {PROTOCOL_VERSION}, not {hello.protocol}", code="version")
        frames: Frames = asyncio.Queue()
        previous = self.hub.members.get(hello.agent_id)
        before_id = None if previous is None else previous.hello.instance_id
        inherited, before = self.hub.join(hello, frames)
        if before is not None:
            if before_id != hello.instance_id:
                before.put_nowait(Superseded(by=hello.instance_id))
            before.put_nowait(None)
        welcome = Welcome(version=__version__, protocol=PROTOCOL_VERSION, at=self.hub.clock(), inherited=inherited)
        try:
            yield MemoryBus(self.hub, hello, frames, welcome)
        finally:
            member = self.hub.members[hello.agent_id]
            if member.frames is frames:
                member.frames = None
                self.hub.emit("agent", id=hello.agent_id, action="left")

    # --- messages -----------------------------------------------------------------------------------------------------

    async def send(self, new: NewMessage) -> MessageRecord:
        """Post a message."""
        return self.hub.accept(self._caller, new)

    async def message(self, message_id: int) -> MessageRecord:
        """Return one message with everything that became of it."""
        return self.hub.record(self._caller, message_id)

    async def messages(self, query: MessageQuery) -> list[MessageRecord]:
        """Return the messages that `query` asks for."""
        return self.hub.records(self._caller, query)

    async def watch(self, message_id: int) -> AsyncIterator[MessageRecord]:
        """Yield the message's record now and after every change of it, for ever."""
        last: MessageRecord | None = None
        with self.hub.listening() as changed:
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
        entry, index = self.hub.find(message_id, request.agent_id)
        result = deliveries.claim(entry.deliveries[index], request, self.hub.clock())
        if result.granted and result.delivery is not None:
            self.hub.put(entry, index, result.delivery)
        return result

    async def renew(self, message_id: int, request: ClaimRequest) -> float:
        """Return the claim's new expiry."""
        self._speak_for(request.agent_id, request.instance_id)
        entry, index = self.hub.find(message_id, request.agent_id)
        delivery = self.hub.put(entry, index, deliveries.renew(entry.deliveries[index], request, self.hub.clock()))
        return delivery.claim_expires_at or 0.0

    async def release(self, message_id: int, release: Release) -> Delivery:
        """Put a claimed delivery back into the queue."""
        self._speak_for(release.agent_id, release.instance_id)
        entry, index = self.hub.find(message_id, release.agent_id)
        claimable, now = entry.message.claimable, self.hub.clock()
        return self.hub.put(
            entry, index, deliveries.release(entry.deliveries[index], release, now, claimable=claimable)
        )

    async def receipt(self, message_id: int, receipt: Receipt) -> Delivery:
        """Report what became of a delivery."""
        self._speak_for(receipt.agent_id, receipt.instance_id)
        entry, index = self.hub.find(message_id, receipt.agent_id)
        claimable, now = entry.message.claimable, self.hub.clock()
        return self.hub.put(
            entry, index, deliveries.apply_receipt(entry.deliveries[index], receipt, now, claimable=claimable)
        )

    def _speak_for(self, agent_id: str, instance_id: str) -> None:
        self._caller.need_agent(agent_id)
        self.hub.current(agent_id, instance_id)

    async def read(self, message_id: int) -> None:
        """Mark the caller's delivery of the message as read."""
        caller = self._caller
        entry = self.hub.entry(message_id)
        for index, delivery in enumerate(entry.deliveries):
            if delivery.recipient is not None and caller.is_(delivery.recipient):
                person = delivery.recipient.startswith(f"{Kind.PERSON}:")
                self.hub.put(entry, index, deliveries.mark_read(delivery, self.hub.clock(), person=person))
                return
        raise RelayNotFound(f"message {message_id} was not delivered to {caller.subject}")

    async def reply(self, message_id: int, reply: NewReply) -> MessageRecord:
        """Answer a message."""
        message = self.hub.visible(self._caller, message_id).message
        if message.sender == self._caller.subject:
            raise RelayRefused(f"message {message_id} is your own", hint="reply to what others sent", status=422)
        new = NewMessage(
            to=message.sender,
            body=reply.body,
            subject=reply.subject,
            reply_to=message_id,
            idempotency_key=reply.idempotency_key,
        )
        return await self.send(new)

    async def react(self, message_id: int, emoji: str) -> None:
        """Put an emoji on a message; the same one twice is one."""
        emoji = acceptance.check_emoji(emoji)
        self.hub.visible(self._caller, message_id)
        reactions = self.hub.entry(message_id).reactions
        subject = self._caller.subject
        if not any(known.sender == subject and known.emoji == emoji for known in reactions):
            reactions.append(Reaction(sender=subject, emoji=emoji, created_at=self.hub.clock()))
            self.hub.emit("reaction", messageId=message_id, emoji=emoji)

    async def redeliver(self, message_id: int, agent_id: str | None = None) -> MessageRecord:
        """Queue a dead or unknown delivery again."""
        self._caller.need_operator()
        return self.hub.redeliver(self._caller, message_id, agent_id)

    # --- agents -------------------------------------------------------------------------------------------------------

    async def agents(self) -> list[Agent]:
        """Return every agent that the relay knows, by id."""
        return [self.hub.agent(agent_id) for agent_id in sorted(self.hub.members) if not self._removed(agent_id)]

    def _removed(self, agent_id: str) -> bool:
        return self.hub.members[agent_id].removed

    async def agent(self, agent_id: str) -> Agent:
        """Return one agent."""
        return self.hub.agent(agent_id)

    async def remove_agent(self, agent_id: str) -> None:
        """Retire an agent."""
        if not self._caller.operates:
            self._caller.need_agent(agent_id)
        self.hub.member(agent_id).removed = True
        self.hub.emit("agent", id=agent_id, action="removed")

    async def put_status(self, agent_id: str, instance_id: str, status: Status) -> None:
        """Publish a status."""
        self._speak_for(agent_id, instance_id)
        self.hub.member(agent_id).status = status
        self.hub.emit("agent", id=agent_id, action="status")

    async def heartbeat(self, agent_id: str, instance_id: str) -> None:
        """Say that the runner lives."""
        self._speak_for(agent_id, instance_id)

    # --- commands, tasks, tokens --------------------------------------------------------------------------------------

    async def command(self, new: NewCommand) -> Command:
        """Give an order about an agent."""
        caller = self._caller
        caller.need_operator()
        known = self.hub.remembered(caller, "command", new.idempotency_key)
        if isinstance(known, str):
            return await self.get_command(known)
        members = self.hub.members.items()
        agent_id = next((i for i, m in members if new.target in (i, m.hello.runner_id) and not m.removed), None)
        if agent_id is None:
            raise acceptance.unknown_agent(new.target, [i for i, m in members if not m.removed])
        now = self.hub.clock()
        command = Command(
            id=f"cmd-{len(self.hub.commands) + 1}",
            type=new.type,
            target=new.target,
            sender=caller.subject,
            created_at=now,
            args=new.args,
            timeout_s=new.timeout_s,
            updated_at=now,
        )
        self.hub.remember(caller, "command", new.idempotency_key, command.id)
        self._keep(command, agent_id)
        frames = self.hub.members[agent_id].frames
        if frames is not None:
            frames.put_nowait(CommandFrame(command=command))
        return command

    async def get_command(self, command_id: str) -> Command:
        """Return an order and what became of it."""
        return self._command(command_id)[0]

    async def update_command(self, command_id: str, update: CommandUpdate) -> Command:
        """Report on an order."""
        command, agent_id = self._command(command_id)
        self._caller.need_agent(agent_id)
        if command.state in NO_MORE:
            if update.state is command.state:
                return command
            raise illegal(f"command {command_id}", command.state, update.state)
        if update.state is CommandState.ACCEPTED:
            raise illegal(f"command {command_id}", command.state, update.state)
        command = replace(command, state=update.state, result=update.result, updated_at=self.hub.clock())
        return self._keep(command, agent_id)

    def _command(self, command_id: str) -> tuple[Command, str]:
        if command_id not in self.hub.commands:
            raise RelayNotFound(f"there is no command {command_id}")
        return self.hub.commands[command_id]

    def _keep(self, command: Command, agent_id: str) -> Command:
        self.hub.commands[command.id] = (command, agent_id)
        self.hub.emit("command", id=command.id, agentId=agent_id, state=command.state.value)
        return command

    async def pending_commands(self, agent_id: str) -> list[Command]:
        """Return the orders for an agent that are neither succeeded nor failed, oldest first."""
        return [
            command for command, of in self.hub.commands.values() if of == agent_id and command.state not in NO_MORE
        ]

    async def create_task(self, new: NewTask) -> Task:
        """Open a task."""
        now = self.hub.clock()
        task = Task(
            id=len(self.hub.tasks) + 1,
            subject=new.subject,
            created_by=self._caller.subject,
            created_at=now,
            description=new.description,
            metadata=new.metadata,
            updated_at=now,
        )
        self.hub.tasks[task.id] = task
        return task

    async def get_task(self, task_id: int) -> Task:
        """Return one task."""
        if task_id not in self.hub.tasks:
            raise RelayNotFound(f"there is no task {task_id}")
        return self.hub.tasks[task_id]

    async def update_task(self, task_id: int, update: TaskUpdate) -> Task:
        """Move a task on; its metadata is merged."""
        task = await self.get_task(task_id)
        metadata = {**task.metadata, **update.metadata}
        agent_id = update.agent_id or task.agent_id
        task = replace(task, state=update.state, agent_id=agent_id, metadata=metadata, updated_at=self.hub.clock())
        self.hub.tasks[task_id] = task
        self.hub.emit("task", id=task_id, state=task.state.value)
        return task

    async def issue_token(self, request: TokenRequest) -> TokenGrant:
        """Make a token for a principal."""
        self._caller.need_grant(request)
        caller = Caller(request.subject, frozenset(request.scopes), profile_id=request.profile_id)
        return self._grant(caller, request.ttl_s)

    async def renew_token(self) -> TokenGrant:
        """Return a successor of the token in use."""
        caller = self.hub.holder(self._token, grace_s=GRACE_S)
        return self._grant(caller, caller.expires_at - caller.issued_at)

    async def revoke_token(self, jti: str) -> None:
        """Make a token worthless from now on."""
        self._caller.need_operator()
        found = [token for token, caller in self.hub.tokens.items() if caller.jti == jti]
        if not found:
            raise RelayNotFound(f"there is no token {jti}")
        for token in found:
            del self.hub.tokens[token]

    def _grant(self, caller: Caller, ttl_s: float) -> TokenGrant:
        now = self.hub.clock()
        caller = _dated(caller, secrets.token_hex(8), now, now + ttl_s)
        return TokenGrant(
            token=self.hub.mint(caller),
            jti=caller.jti,
            profile_id=caller.profile_id,
            subject=caller.subject,
            scopes=tuple(sorted(caller.scopes)),
            issued_at=now,
            expires_at=caller.expires_at,
        )

    # --- the relay itself ---------------------------------------------------------------------------------------------

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield what happens on the relay."""
        last = len(self.hub.log) if after is None else after
        with self.hub.listening() as changed:
            while True:
                changed.clear()
                for event in self.hub.log[last:]:
                    last = event.seq
                    yield event
                await changed.wait()

    async def health(self) -> dict[str, object]:
        """Return what a relay says of itself."""
        return {"status": "ok", "version": __version__, "protocol": PROTOCOL_VERSION, "agents": len(self.hub.members)}


def _dated(caller: Caller, jti: str, issued_at: float, expires_at: float) -> Caller:
    return Caller(caller.subject, caller.scopes, jti, caller.profile_id, issued_at, expires_at)
