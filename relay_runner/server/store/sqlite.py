"""The store in one SQLite file: WAL, every commit on the disk before it is answered."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Self

from relay_runner.errors import StoreError
from relay_runner.protocol.acceptance import check_new
from relay_runner.protocol.access import Caller
from relay_runner.protocol.agents import OFFLINE_AFTER_S, Agent, Status
from relay_runner.protocol.attachments import Attachment
from relay_runner.protocol.events import Event
from relay_runner.protocol.frames import Hello
from relay_runner.protocol.messages import (
    LEASE_S,
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
from relay_runner.protocol.orders import RUNNING_SLACK_S
from relay_runner.server.store import agents, attachments, handling, leases, messages, orders, permissions, tidy, views
from relay_runner.server.store.base import Counts, Follower, Joined
from relay_runner.server.store.clock import StoreClock
from relay_runner.server.store.desk import SqliteDesk
from relay_runner.server.store.files import LocalFiles
from relay_runner.server.store.reader import Reader
from relay_runner.server.store.sql import queries, schema
from relay_runner.server.store.writer import Transaction, Writer, connect


class SqliteStore(SqliteDesk):
    """Implements `store.base.Store`; `clock` tells the time to every rule, and `steady` when it jumped."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
        *,
        lease_s: float = LEASE_S,
    ) -> None:
        self._path = path
        self._clock = StoreClock(clock, steady)
        self._writer = Writer(path, self._clock, lease_s=lease_s, on_jump=leases.move_along)
        self._reader = Reader(path, self._clock)
        self.lease_s = lease_s
        self.files = LocalFiles(path.with_name(f"{path.stem}-attachments"))
        self._relay_id = ""
        self._signing_key = b""

    async def __aenter__(self) -> Self:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        os.close(descriptor)
        connection = connect(self._path)
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise StoreError(f"{self._path} is not a relay's store: {error}", hint="move it away") from error
        self._writer.start(connection)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._writer.stop()
        await self._reader.stop()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.executescript(schema())
        known = {column[1] for column in connection.execute("PRAGMA table_info(deliveries)")}
        for column in ("usage", "carried"):
            if column not in known:  # a store from before it was kept
                connection.execute(f"ALTER TABLE deliveries ADD COLUMN {column} TEXT")
        self._relay_id = _keep(connection, "relay_id", secrets.token_hex(8).encode()).decode()
        self._signing_key = _keep(connection, "signing_key", secrets.token_bytes(32))
        # No bus outlives the process that held it; who was online gets the time of a silence to come back.
        connection.execute(queries()["forget_buses"], (self._clock(),))
        leases.grant_round(Transaction(connection, 0, self._clock(), self.lease_s))

    @property
    def relay_id(self) -> str:
        """The store's own name, made once."""
        return self._relay_id

    @property
    def signing_key(self) -> bytes:
        """The secret that signs tokens, made once."""
        return self._signing_key

    @property
    def commits(self) -> int:
        """How many transactions were committed since the start."""
        return self._writer.commits

    def under(self, caller: Caller, grace_s: float = 0.0) -> Self:
        """Return this store as one caller's: every act asks first whether their token is still good."""
        found = copy(self)
        found._holder = (caller, grace_s)
        return found

    def follow(self, follower: Follower) -> None:
        """Tell `follower` every change from now on."""
        self._writer.follow(follower)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def accept(self, caller: Caller, new: NewMessage) -> MessageRecord:
        """Take a message and make its deliveries."""
        address = check_new(new)
        return await self._write(lambda tx: messages.accept(tx, caller, new, address))

    async def reply(self, caller: Caller, message_id: int, reply: NewReply) -> MessageRecord:
        """Take an answer to a message."""
        return await self._write(lambda tx: messages.reply(tx, caller, message_id, reply))

    async def record(self, caller: Caller, message_id: int) -> MessageRecord:
        """Return one message with what the caller may know of it."""
        return await self._read(lambda tx: views.record(tx, caller, message_id))

    async def records(self, caller: Caller, query: MessageQuery) -> list[MessageRecord]:
        """Return the messages asked for that the caller may read."""
        return await self._read(lambda tx: views.records(tx, caller, query))

    async def claim(self, message_id: int, request: ClaimRequest) -> ClaimResult:
        """Let an agent's current instance claim a message."""
        return await self._write(lambda tx: handling.claim(tx, message_id, request))

    async def renew(self, message_id: int, request: ClaimRequest) -> Delivery:
        """Prolong a claim."""
        return await self._write(lambda tx: handling.renew(tx, message_id, request))

    async def release(self, message_id: int, release: Release) -> Delivery:
        """Put a claimed delivery back."""
        return await self._write(lambda tx: handling.release(tx, message_id, release))

    async def receipt(self, message_id: int, receipt: Receipt) -> Delivery:
        """Move a delivery on by an agent's report."""
        return await self._write(lambda tx: handling.receipt(tx, message_id, receipt))

    async def read(self, caller: Caller, message_id: int) -> None:
        """Mark the caller's delivery as read."""
        await self._write(lambda tx: messages.read(tx, caller, message_id))

    async def react(self, caller: Caller, message_id: int, emoji: str) -> None:
        """Add a reaction."""
        await self._write(lambda tx: messages.react(tx, caller, message_id, emoji))

    async def drop(self, caller: Caller, message_id: int, agent_id: str | None) -> MessageRecord:
        """End queued and unknown deliveries as dead."""
        return await self._write(lambda tx: messages.drop(tx, caller, message_id, agent_id))

    async def redeliver(self, caller: Caller, message_id: int, agent_id: str | None) -> MessageRecord:
        """Queue dead and unknown deliveries again."""
        return await self._write(lambda tx: messages.redeliver(tx, caller, message_id, agent_id))

    # --- agents -------------------------------------------------------------------------------------------------------

    async def join(self, hello: Hello, bus_id: str) -> Joined:
        """Register an agent's instance, which takes over what its predecessor had in flight."""

        def join(tx: Transaction) -> Joined:
            predecessor = agents.register(tx, hello, bus_id)
            return Joined(handling.inherit(tx, hello.agent_id, hello.instance_id), predecessor)

        return await self._write(join)

    async def leave(self, agent_id: str, bus_id: str) -> None:
        """Note that a bus was closed."""
        await self._write(lambda tx: agents.leave(tx, agent_id, bus_id))

    async def agents(self) -> list[Agent]:
        """Return every agent that was not removed, by id."""
        return await self._read(views.agents)

    async def agent(self, agent_id: str) -> Agent:
        """Return one agent."""
        return await self._read(lambda tx: views.agent(tx, agent_id))

    async def obligations(self, caller: Caller, agent_id: str) -> list[MessageRecord]:
        """Return what an agent has to answer, oldest first."""
        return await self._read(lambda tx: views.obligations(tx, caller, agent_id))

    async def remove_agent(self, agent_id: str) -> None:
        """Retire an agent."""

        def remove(tx: Transaction) -> None:
            agents.remove(tx, agent_id)
            permissions.withdraw_all(tx, agent_id)

        await self._write(remove)

    async def put_status(self, agent_id: str, instance_id: str, status: Status) -> None:
        """Note an agent's status, and that it lives."""
        await self._write(lambda tx: agents.put_status(tx, agent_id, instance_id, status))

    async def put_ready(self, agent_id: str, instance_id: str, ready: bool) -> None:
        """Note whether an agent is ready, and that it lives."""
        await self._write(lambda tx: agents.put_ready(tx, agent_id, instance_id, ready))

    async def heartbeat(self, agent_id: str, instance_id: str, meta: dict[str, object] | None = None) -> None:
        """Note that an agent lives, with fresh meta where given."""
        await self._write(lambda tx: agents.heartbeat(tx, agent_id, instance_id, meta))

    # --- attachments --------------------------------------------------------------------------------------------------

    async def put_attachment(self, caller: Caller, attachment: Attachment) -> Attachment:
        """Remember a file that arrived, as the caller's."""
        return await self._write(lambda tx: attachments.put(tx, caller.subject, attachment))

    async def attachment(self, caller: Caller, attachment_id: str) -> Attachment:
        """Return an attachment that the caller may see."""
        return await self._read(lambda tx: attachments.visible(tx, caller, attachment_id))

    async def _tidy_attachments(self) -> None:
        while gone := await self._write(attachments.tidy):
            await self.files.remove(gone)
        if settled := await self.files.settled():
            await self.files.remove(await self._read(lambda tx: attachments.strays(tx, settled)))

    # --- the event log and the clock ----------------------------------------------------------------------------------

    async def events_after(self, seq: int, limit: int) -> list[Event]:
        """Return the next events of the log."""
        return await self._read(lambda tx: views.events_after(tx, seq, limit))

    async def last_event(self) -> int:
        """Return the `seq` of the newest event."""
        row = await self._read(lambda tx: tx.one("last_event"))
        return 0 if row is None else int(row[0])

    async def sweep(self) -> float | None:
        """Do what is due by the clock; return the instant when something is due next."""
        return await self._write(_sweep)

    async def tidy(self) -> None:
        """Forget what is too old to matter."""
        while await self._write(tidy.tidy):  # what others ask meanwhile goes in between
            continue
        await self._tidy_attachments()

    async def counts(self) -> Counts:
        """Return how much there is."""
        return await self._read(views.counts)


def _keep(connection: sqlite3.Connection, key: str, value: bytes) -> bytes:
    connection.execute(queries()["put_meta"], (key, value))
    kept: bytes = connection.execute(queries()["get_meta"], (key,)).fetchone()[0]
    return kept


def _sweep(tx: Transaction) -> float | None:
    swept = handling.sweep(tx)
    agents.sweep(tx)
    orders.sweep(tx)
    if swept == handling.MAX_SWEPT:
        return tx.now
    due = [
        tx.one("next_delivery_due"),
        tx.one("next_agent_due", {"offline_after": OFFLINE_AFTER_S, "grace": agents.BUS_GRACE_S}),
        tx.one("next_command_due", (RUNNING_SLACK_S,)),
    ]
    return min((row[0] for row in due if row is not None and row[0] is not None), default=None)
