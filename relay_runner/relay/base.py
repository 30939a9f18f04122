"""What a relay looks like to a runner and to the command line.

Every call either returns the relay's answer or raises: `RelayUnavailable` when the relay could not be asked (nothing
is known; ask again), `RelayRefused` or one of its children when it said no, `ClaimLost` when a renewal, a release or a
receipt comes from an instance (or an attempt) that no longer holds the delivery. All calls are idempotent where they
can be retried: a receipt, a release or a claim sent twice by the same holder answers the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, Self

from relay_runner.protocol.agents import Agent, Status
from relay_runner.protocol.attachments import Attachment, AttachmentLimits, NewAttachment
from relay_runner.protocol.commands import Command, CommandUpdate, NewCommand, NewTask, Task, TaskQuery, TaskUpdate
from relay_runner.protocol.events import Event
from relay_runner.protocol.frames import ClientFrame, Hello, ServerFrame, Welcome
from relay_runner.protocol.messages import (
    ClaimRequest,
    ClaimResult,
    Delivery,
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
from relay_runner.protocol.tokens import TokenGrant, TokenInfo, TokenRequest

Data = Callable[[], AsyncIterator[bytes]]
"""Begins to read a file, from its start each time it is called."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is being fetched: what is known of it, and its bytes. Nothing has been checked yet."""

    attachment: Attachment
    chunks: AsyncIterator[bytes]


class Bus(Protocol):
    """One live connection to the relay, after its `welcome`.

    Iterating yields server frames until the connection ends; the end is always `RelayUnavailable` (or
    `RelayUnauthorized`), so that a loop over it cannot mistake a lost connection for a quiet one.
    """

    @property
    def welcome(self) -> Welcome:
        """What the relay answered to our hello."""
        ...

    async def send(self, frame: ClientFrame) -> None:
        """Send one frame; raise `RelayUnavailable` when the connection is gone."""
        ...

    def __aiter__(self) -> AsyncIterator[ServerFrame]: ...


class Relay(Protocol):
    """A relay that can be asked; `async with` opens and closes what it needs."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    def connect(self, hello: Hello) -> AbstractAsyncContextManager[Bus]:
        """Open the bus and say hello; entering waits for the welcome.

        Raise `ClaimLost` where a newer instance of the same agent took over before: it cannot be taken back.
        """
        ...

    def use_token(self, token: str) -> None:
        """Use `token` for every later call and connection."""
        ...

    def heal_with(self, heal: Callable[[], Awaitable[None]]) -> None:
        """Await `heal` whenever the relay takes the token in use no longer (401), and make the call once more.

        `heal` gets another token and calls `use_token`, once for all calls that failed at the same time. Where it
        could not, they raise `RelayUnauthorized`; so does, without asking, what is called before the next `use_token`.
        `renew_token`, `who_am_i` and the bus never ask for it.
        """
        ...

    async def send(self, new: NewMessage) -> MessageRecord:
        """Post a message; it is durable when this returns."""
        ...

    async def message(self, message_id: int) -> MessageRecord:
        """Return one message with everything that became of it."""
        ...

    async def messages(self, query: MessageQuery) -> list[MessageRecord]:
        """Return the messages that `query` asks for."""
        ...

    def watch(self, message_id: int) -> AsyncIterator[MessageRecord]:
        """Yield the message's record now and after every change of it, for ever."""
        ...

    async def claim(self, message_id: int, request: ClaimRequest) -> ClaimResult:
        """Try to become the one who handles the message; "taken by another" is a result."""
        ...

    async def renew(self, message_id: int, request: ClaimRequest) -> float:
        """Return the claim's new expiry; raise `ClaimLost` where it is no longer ours."""
        ...

    async def release(self, message_id: int, release: Release) -> Delivery:
        """Put a claimed delivery back into the queue (or, after the last attempt, among the dead)."""
        ...

    async def receipt(self, message_id: int, receipt: Receipt) -> Delivery:
        """Report what became of a delivery; return it as the relay has it now."""
        ...

    async def read(self, message_id: int) -> None:
        """Mark the caller's delivery of the message as read."""
        ...

    async def reply(self, message_id: int, reply: NewReply) -> MessageRecord:
        """Answer a message; the new message goes to its sender."""
        ...

    async def react(self, message_id: int, emoji: str) -> None:
        """Put an emoji on a message; the same one twice is one."""
        ...

    async def redeliver(self, message_id: int, agent_id: str | None = None) -> MessageRecord:
        """Queue a dead or unknown delivery again, as a new attempt. Needs the operator scope."""
        ...

    async def attachment_limits(self) -> AttachmentLimits:
        """Return what the relay takes."""
        ...

    async def upload(self, new: NewAttachment, data: Data) -> Attachment:
        """Give the relay a file, for a message that names it; one that no message names goes after a day."""
        ...

    def download(self, attachment_id: str) -> AbstractAsyncContextManager[Download]:
        """Fetch a file that is the caller's, or of a message that the caller may read."""
        ...

    async def drop(self, message_id: int, agent_id: str | None = None) -> MessageRecord:
        """Give a queued or unknown delivery up: it is dead. Needs the operator scope."""
        ...

    async def agents(self) -> list[Agent]:
        """Return every agent that the relay knows, by id."""
        ...

    async def agent(self, agent_id: str) -> Agent:
        """Return one agent."""
        ...

    async def obligations(self, agent_id: str) -> list[MessageRecord]:
        """Return the messages that an agent has, that ask for a reply, and that it has not answered, oldest first.

        Needs the agent's own scope, or the operator's.
        """
        ...

    async def remove_agent(self, agent_id: str) -> None:
        """Retire an agent: it is listed no more; what is queued for it waits until its TTL, then is dead."""
        ...

    async def put_status(self, agent_id: str, instance_id: str, status: Status) -> None:
        """Publish a status over HTTP: the backstop for a silent bus. Raise `ClaimLost` when superseded."""
        ...

    async def heartbeat(self, agent_id: str, instance_id: str) -> None:
        """Say over HTTP that the runner lives. Raise `ClaimLost` when superseded."""
        ...

    async def command(self, new: NewCommand) -> Command:
        """Give an order about an agent."""
        ...

    async def get_command(self, command_id: str) -> Command:
        """Return an order and what became of it."""
        ...

    async def update_command(self, command_id: str, update: CommandUpdate) -> Command:
        """Report on an order."""
        ...

    async def pending_commands(self, agent_id: str) -> list[Command]:
        """Return the orders for an agent that are neither succeeded nor failed, oldest first."""
        ...

    async def open_permission(self, new: NewPermission) -> Permission:
        """Ask a permission on behalf of an agent; the same id again is the same question.

        Raise `ClaimLost` when superseded, as `update_permission` does.
        """
        ...

    async def permissions(self, query: PermissionQuery) -> list[Permission]:
        """Return the permissions that `query` asks for, oldest first."""
        ...

    async def permission(self, permission_id: str) -> Permission:
        """Return one permission."""
        ...

    async def decide(self, permission_id: str, new: NewDecision) -> Permission:
        """Answer a permission; a late answer is refused with the one that stands. Only operators may."""
        ...

    async def update_permission(self, permission_id: str, update: PermissionUpdate) -> Permission:
        """Report how a permission ended, or what people must know of it; the first end stands."""
        ...

    async def create_task(self, new: NewTask) -> Task:
        """Open a task."""
        ...

    async def get_task(self, task_id: int) -> Task:
        """Return one task."""
        ...

    async def tasks(self, query: TaskQuery) -> list[Task]:
        """Return the tasks that `query` asks for and that concern the caller, newest first."""
        ...

    async def update_task(self, task_id: int, update: TaskUpdate) -> Task:
        """Move a task on; its metadata is merged. A task that a message carries moves along with it by itself."""
        ...

    async def issue_token(self, request: TokenRequest) -> TokenGrant:
        """Make a token for a principal."""
        ...

    async def renew_token(self) -> TokenGrant:
        """Return a successor of the token in use; the old one stays good until it expires.

        Raise `RelayUnauthorized` for one that is too old or was revoked (status 401), or is not of a profile whose
        tokens renew (status 403, code `not-renewable`).
        """
        ...

    async def who_am_i(self) -> TokenInfo:
        """Return whose the token in use is, what it may do, and until when."""
        ...

    async def list_tokens(self) -> list[TokenInfo]:
        """Return what is known of the tokens that the relay made, the newest first. Needs the operator scope."""
        ...

    async def revoke_token(self, jti: str) -> None:
        """Make a token and all its successors worthless from now on."""
        ...

    def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield what happens on the relay, from after `after` (a `seq`) or from now on."""
        ...

    async def health(self) -> dict[str, object]:
        """Return what `/healthz` says: status, version, protocol, counts."""
        ...
