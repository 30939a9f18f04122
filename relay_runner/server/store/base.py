"""The port between the relay's server and whatever keeps its data.

Every method is one atomic step: when it returns, the change is durable and its events are in the event log; when it
raises, nothing changed. What changed is told to the followers of the store in the order of the event log, so that a
server process holds nothing that another one could not rebuild.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from relay_runner.protocol.access import Caller
from relay_runner.protocol.agents import Agent, Status
from relay_runner.protocol.attachments import Attachment
from relay_runner.protocol.commands import Command, CommandUpdate, NewCommand, NewTask, Task, TaskQuery, TaskUpdate
from relay_runner.protocol.events import Event
from relay_runner.protocol.frames import Hello
from relay_runner.protocol.messages import (
    ClaimRequest,
    ClaimResult,
    Delivery,
    Message,
    MessageQuery,
    MessageRecord,
    NewMessage,
    NewReply,
    Receipt,
    Release,
)
from relay_runner.protocol.permissions import (
    NewDecision,
    NewPermission,
    Permission,
    PermissionQuery,
    PermissionUpdate,
)
from relay_runner.protocol.tokens import TokenGrant, TokenInfo


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the log, with the values it is about where a follower pushes them on."""

    event: Event
    message: Message | None = None
    delivery: Delivery | None = None
    command: Command | None = None
    target: str | None = None
    """The agent that a command is about."""
    permission: Permission | None = None


Follower = Callable[[Sequence[Change]], None]
"""Takes the changes of one commit, on the event loop's thread; must not block or raise."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What a hello did."""

    inherited: tuple[int, ...]
    predecessor: str | None
    """The instance that this one supersedes."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is."""

    agents: int
    connected: int
    queued: int


@dataclass(frozen=True, slots=True)
class Received:
    """A file that arrived whole."""

    id: str
    size: int
    sha256: str


class Files(Protocol):
    """Where the bytes of attachments are; what is known of them is in the store."""

    limit: int
    """The most bytes that one may have."""

    async def receive(self, chunks: AsyncIterator[bytes], name: str = "") -> Received:
        """Keep a file as it arrives; raise `RelayRefused` for one above the limit. It is whole when this returns."""
        ...

    def read(self, file_id: str) -> AsyncIterator[bytes]:
        """Yield a file's bytes; raise `RelayNotFound` where it is gone."""
        ...

    async def remove(self, file_ids: Collection[str]) -> None:
        """Delete files."""
        ...


class Store(Protocol):
    """Everything that a relay remembers."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    @property
    def relay_id(self) -> str:
        """The store's own name, made once."""
        ...

    lease_s: float
    """How long a lease is that nobody asks another length for."""

    @property
    def signing_key(self) -> bytes:
        """The secret that signs tokens, made once."""
        ...

    @property
    def files(self) -> Files:
        """The bytes of attachments."""
        ...

    def under(self, caller: Caller, grace_s: float = 0.0) -> Store:
        """Return this store as one caller's: every act asks first, in its own transaction, for a token that is good.

        It raises `RelayUnauthorized` for one that was revoked, or ended more than `grace_s` ago.
        """
        ...

    def follow(self, follower: Follower) -> None:
        """Tell `follower` every change from now on."""
        ...

    async def accept(self, caller: Caller, new: NewMessage) -> MessageRecord:
        """Take a message and make its deliveries."""
        ...

    async def reply(self, caller: Caller, message_id: int, reply: NewReply) -> MessageRecord:
        """Take an answer to a message that the caller may read; it goes to the message's sender."""
        ...

    async def record(self, caller: Caller, message_id: int) -> MessageRecord:
        """Return one message with what the caller may know of it."""
        ...

    async def records(self, caller: Caller, query: MessageQuery) -> list[MessageRecord]:
        """Return the messages asked for that the caller may read."""
        ...

    async def claim(self, message_id: int, request: ClaimRequest) -> ClaimResult:
        """Let an agent's current instance claim a message."""
        ...

    async def renew(self, message_id: int, request: ClaimRequest) -> Delivery:
        """Prolong a claim."""
        ...

    async def release(self, message_id: int, release: Release) -> Delivery:
        """Put a claimed delivery back."""
        ...

    async def receipt(self, message_id: int, receipt: Receipt) -> Delivery:
        """Move a delivery on by an agent's report."""
        ...

    async def read(self, caller: Caller, message_id: int) -> None:
        """Mark the caller's delivery as read."""
        ...

    async def react(self, caller: Caller, message_id: int, emoji: str) -> None:
        """Add a reaction."""
        ...

    async def drop(self, caller: Caller, message_id: int, agent_id: str | None) -> MessageRecord:
        """End queued and unknown deliveries as dead."""
        ...

    async def redeliver(self, caller: Caller, message_id: int, agent_id: str | None) -> MessageRecord:
        """Queue dead and unknown deliveries again."""
        ...

    async def put_attachment(self, caller: Caller, attachment: Attachment) -> Attachment:
        """Remember a file that arrived, as the caller's."""
        ...

    async def attachment(self, caller: Caller, attachment_id: str) -> Attachment:
        """Return an attachment that the caller may see."""
        ...

    async def join(self, hello: Hello, bus_id: str) -> Joined:
        """Register an agent's instance; raise `ClaimLost` for one that was superseded before."""
        ...

    async def leave(self, agent_id: str, bus_id: str) -> None:
        """Note that a bus was closed; a newer one of the same agent is not touched."""
        ...

    async def agents(self) -> list[Agent]:
        """Return every agent that was not removed, by id."""
        ...

    async def agent(self, agent_id: str) -> Agent:
        """Return one agent."""
        ...

    async def obligations(self, caller: Caller, agent_id: str) -> list[MessageRecord]:
        """Return the messages that an agent has, that ask for a reply, and that it has not answered, oldest first."""
        ...

    async def remove_agent(self, agent_id: str) -> None:
        """Retire an agent."""
        ...

    async def put_status(self, agent_id: str, instance_id: str, status: Status) -> None:
        """Note an agent's status, and that it lives."""
        ...

    async def put_ready(self, agent_id: str, instance_id: str, ready: bool) -> None:
        """Note whether an agent is ready, and that it lives."""
        ...

    async def heartbeat(self, agent_id: str, instance_id: str, meta: dict[str, object] | None = None) -> None:
        """Note that an agent lives, with fresh meta where given."""
        ...

    async def command(self, caller: Caller, new: NewCommand) -> Command:
        """Take an order."""
        ...

    async def get_command(self, caller: Caller, command_id: str) -> Command:
        """Return an order that concerns the caller."""
        ...

    async def commands(self, agent_id: str, *, pending: bool) -> list[Command]:
        """Return an agent's orders, oldest first."""
        ...

    async def update_command(self, caller: Caller, command_id: str, update: CommandUpdate) -> Command:
        """Move an order on."""
        ...

    async def open_permission(self, new: NewPermission) -> Permission:
        """Open a permission of an agent's current instance; the same id again is the same one."""
        ...

    async def permission(self, caller: Caller, permission_id: str) -> Permission:
        """Return a permission that concerns the caller."""
        ...

    async def permissions(self, query: PermissionQuery) -> list[Permission]:
        """Return the permissions asked for, oldest first."""
        ...

    async def decide(self, caller: Caller, permission_id: str, new: NewDecision) -> Permission:
        """Answer a permission; the first answer stands, a later one is refused with it."""
        ...

    async def update_permission(self, permission_id: str, update: PermissionUpdate) -> Permission:
        """Note what the agent's current instance says of a permission."""
        ...

    async def create_task(self, caller: Caller, new: NewTask) -> Task:
        """Open a task."""
        ...

    async def get_task(self, caller: Caller, task_id: int) -> Task:
        """Return a task that concerns the caller."""
        ...

    async def tasks(self, caller: Caller, query: TaskQuery) -> list[Task]:
        """Return the tasks asked for that concern the caller, newest first."""
        ...

    async def update_task(self, caller: Caller, task_id: int, update: TaskUpdate) -> Task:
        """Move a task on: its creator, an operator, or an agent that a message brought it to."""
        ...

    async def put_token(self, grant: TokenGrant, parent: str | None = None) -> None:
        """Remember a token that was made; `parent` is the one it succeeds, which must not be revoked."""
        ...

    async def revoke_token(self, jti: str) -> None:
        """Make a token and all its successors worthless; an unknown one is `RelayNotFound`."""
        ...

    async def tokens(self) -> list[TokenInfo]:
        """Return what is known of the tokens, the newest first."""
        ...

    async def token_good(self, jti: str) -> bool:
        """Say whether a token is known and was not revoked."""
        ...

    async def events_after(self, seq: int, limit: int) -> list[Event]:
        """Return the next events of the log."""
        ...

    async def last_event(self) -> int:
        """Return the `seq` of the newest event."""
        ...

    async def sweep(self) -> float | None:
        """Do what is due by the clock; return the instant when something is due next."""
        ...

    async def tidy(self) -> None:
        """Forget what is too old to matter: events, messages, attachments, instances, commands, keys, tokens."""
        ...

    async def counts(self) -> Counts:
        """Return how much there is."""
        ...
