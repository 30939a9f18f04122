"""What this runner did with every message, so that the next one knows: SQLite in the agent's folder.

    submitting   we mean to put it in, and are telling the relay so; nothing has entered the provider
    handing      we are putting it in: from here on only the provider's evidence can say that it did not enter
    submitted    the channel took it
    seen         the provider proved that the model has it
    limited      its turn was cut off by a limit of the model's side: it waits to be continued
    settled      it ended; the receipt is in the outbox or already with the relay

A continuation is a hand-over like any other, from `submitting` on and under a nonce of its own: the row's nonce is
always the newest, and `continues` is the last one that the model has seen.

Every write is committed before the step that it announces. WAL with synchronous=NORMAL: a commit survives `kill -9` of
anything without an fsync; what a power cut could take away, the relay has too (it was told `submitting` and the nonce,
durably, before anything entered the provider), and the provider's own records hold the rest.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from relay_runner.protocol.budgets import Bill, Spent, day_of
from relay_runner.protocol.envelope import NONCE_BYTES
from relay_runner.protocol.messages import Message, Outcome, Receipt
from relay_runner.protocol.usage import Usage, total
from relay_runner.protocol.wire import decode, encode
from relay_runner.runner.database import Database, Transaction
from relay_runner.runner.queue import Key

KEEP_S = 14 * 24 * 3600.0
"""Longer than any message lives (7 days) and any idempotency key is remembered."""

_COLUMNS = (
    "message, attempt, nonce, stage, process, channel, evidence, outcome, result, continues, usage, session, reason,"
    " carried"
)


class Stage(StrEnum):
    """How far one delivery got on this machine."""

    SUBMITTING = "submitting"
    HANDING = "handing"
    SUBMITTED = "submitted"
    SEEN = "seen"
    LIMITED = "limited"
    OWED = "owed"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Row:
    """One journalled delivery."""

    message: Message
    attempt: int
    nonce: str
    stage: Stage
    process: str | None
    """The provider process (its `provider_session_id`) that it was handed to."""
    channel: str | None
    evidence: str | None
    outcome: Outcome | None
    result: str | None
    continues: str | None = None
    """The nonce that the model has seen, where this one continues its work after a limit."""
    usage: Usage | None = None
    """What the turns that worked on it cost so far."""
    session: str | None = None
    """The session that it was cut off in: only there it can be continued."""
    reason: str | None = None
    carried: tuple[int, ...] = ()
    """See `Receipt.carried`."""

    @property
    def key(self) -> Key:
        """What tells this delivery from every other."""
        return (self.message.id, self.attempt, self.message.created_at)


@dataclass(frozen=True, slots=True)
class Posted:
    """A receipt that the relay was not told yet."""

    seq: int
    message_id: int
    receipt: Receipt


class Journal(Database):
    """The journal of one agent; used from the event loop's thread only, every call is one short transaction."""

    # --- deliveries ---

    def get(self, key: Key) -> Row | None:
        """Return what is known of one delivery."""
        return next(self._rows("message_id = ? AND attempt = ? AND created_at = ?", *key), None)

    def has(self, message: Message) -> bool:
        """Say whether anything was ever begun of a message, by whichever try."""
        query = "SELECT 1 FROM deliveries WHERE message_id = ? AND created_at = ? LIMIT 1"
        return bool(self._query(query, message.id, message.created_at))

    def by_nonce(self, nonce: str) -> Row | None:
        """Return the delivery that went (or is going) in under this nonce."""
        return next(self._rows("nonce = ?", nonce), None)

    def carrying(self, nonce: str) -> Row | None:
        """Return the delivery of which the model has this nonce, also where it was continued under another one."""
        return next(self._rows("? IN (nonce, continues)", nonce), None)

    def open(self) -> list[Row]:
        """Return what began and did not settle, oldest message first."""
        return list(self._rows("stage <> 'settled' ORDER BY message_id"))

    def begin(self, message: Message, attempt: int, process: str | None, now: float) -> str:
        """Note that a message is about to go in; return its nonce, the old one when this try began before."""
        key = (message.id, attempt, message.created_at)
        known = self.get(key)
        nonce = known.nonce if known else secrets.token_urlsafe(NONCE_BYTES)
        self._run(
            "INSERT INTO deliveries (message_id, attempt, created_at, nonce, stage, message, process, updated_at)"
            " VALUES (?, ?, ?, ?, 'submitting', ?, ?, ?)"
            " ON CONFLICT DO UPDATE"
            " SET stage = 'submitting', process = excluded.process, updated_at = excluded.updated_at",
            *key, nonce, encode(message), process, now,
        )  # fmt: skip
        return nonce

    def restore(self, message: Message, attempt: int, nonce: str, stage: Stage, now: float) -> None:
        """Write a delivery down that only the relay remembers (this journal was lost, or is on another machine)."""
        self._run(
            "INSERT OR IGNORE INTO deliveries (message_id, attempt, created_at, nonce, stage, message, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            message.id, attempt, message.created_at, nonce, stage, encode(message), now,
        )  # fmt: skip

    def advance(
        self, nonce: str, stage: Stage, now: float, *, channel: str | None = None, evidence: str | None = None
    ) -> None:
        """Move a delivery on."""
        self._run(
            "UPDATE deliveries SET stage = ?, channel = coalesce(?, channel), evidence = coalesce(?, evidence),"
            " updated_at = ? WHERE nonce = ?",
            stage, channel, evidence, now, nonce,
        )  # fmt: skip

    def continuing(self, nonce: str, process: str | None, now: float) -> str:
        """Note that a limited delivery is about to be continued; return that nonce, the old one of an old try."""
        row = self.by_nonce(nonce)
        if row is not None and row.stage is Stage.LIMITED:
            self._run(
                "UPDATE deliveries SET nonce = ?, continues = ?, stage = 'submitting', process = ?, updated_at = ?"
                " WHERE nonce = ?",
                fresh := secrets.token_urlsafe(NONCE_BYTES), nonce, process, now, nonce,
            )  # fmt: skip
            return fresh
        self._run("UPDATE deliveries SET process = ?, updated_at = ? WHERE nonce = ?", process, now, nonce)
        return nonce

    def limited(self, nonce: str, session: str | None, bill: Bill | None, now: float) -> None:
        """Note that a limit cut off the turn of a delivery, and what that turn cost, in one transaction."""
        with self._transaction() as db:
            db.execute(
                "UPDATE deliveries SET stage = 'limited', session = ?, updated_at = ? WHERE nonce = ?",
                (session, now, nonce),
            )
            self._charge(db, bill, nonce)

    def owed(self, nonce: str, receipt: Receipt, bill: Bill | None, now: float) -> None:
        """Note that a turn completed without the reply that is asked for: what is told later, and what it cost."""
        with self._transaction() as db:
            db.execute(
                "UPDATE deliveries SET stage = 'owed', outcome = ?, result = ?, reason = ?, carried = ?, updated_at = ?"
                " WHERE nonce = ?",
                (*_end(receipt), now, nonce),
            )
            self._charge(db, bill, nonce)

    def settle(self, nonce: str, receipt: Receipt, now: float, *, post: bool = True, bill: Bill | None = None) -> None:
        """End a delivery and post its last receipt (unless somebody else has the say now), in one transaction.

        `bill` is what its last turn cost; what all its turns cost stands in the receipt.
        """
        with self._transaction() as db:
            db.execute(
                "UPDATE deliveries SET stage = 'settled', outcome = ?, result = ?, reason = ?, carried = ?,"
                " evidence = coalesce(?, evidence), updated_at = ? WHERE nonce = ?",
                (*_end(receipt), receipt.evidence, now, nonce),
            )
            self._charge(db, bill, nonce)
            if post:
                db.execute(
                    "INSERT INTO outbox (message_id, receipt) SELECT message_id, ? FROM deliveries WHERE nonce = ?",
                    (encode(receipt), nonce),
                )

    def again(self, nonce: str, now: float) -> None:
        """Note that a delivery never entered the conversation, whatever was told: another nonce goes in next."""
        self._run(
            "UPDATE deliveries SET stage = 'submitting', nonce = ?, channel = NULL, evidence = NULL, updated_at = ?"
            " WHERE nonce = ?",
            secrets.token_urlsafe(NONCE_BYTES), now, nonce,
        )  # fmt: skip

    def forget(self, nonce: str) -> None:
        """Drop a delivery of which provably nothing entered the provider: it may come again."""
        self._run("DELETE FROM deliveries WHERE nonce = ?", nonce)

    def prune(self, now: float) -> None:
        """Drop what settled, and which commands were taken, long ago."""
        self._run("DELETE FROM deliveries WHERE stage = 'settled' AND updated_at < ?", now - KEEP_S)
        self._run("DELETE FROM spent WHERE day < ?", day_of(now - KEEP_S))
        for kind in ("command", "tool", "reminder"):
            old = f"DELETE FROM facts WHERE name LIKE '{kind}:%' AND json_extract(value, '$.at') < ?"
            self._run(old, now - KEEP_S)

    # --- what turns cost ---

    def charge(self, bill: Bill) -> None:
        """Note what a turn cost that no message asked for."""
        with self._transaction() as db:
            self._charge(db, bill, None)

    def spent(self, day: str) -> dict[str, Spent]:
        """Return what was spent on a day, by who asked for it."""
        rows = self._query("SELECT sender, turns, tokens, cost_usd FROM spent WHERE day = ?", day)
        return {sender: Spent(turns, tokens, cost_usd) for sender, turns, tokens, cost_usd in rows}

    def _charge(self, db: Transaction, bill: Bill | None, nonce: str | None) -> None:
        if bill is None:
            return
        usage = bill.usage or Usage()
        db.execute(
            "INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET turns = turns + excluded.turns,"
            " tokens = tokens + excluded.tokens, cost_usd = cost_usd + excluded.cost_usd",
            (bill.day, bill.sender, bill.turns, usage.tokens or 0, usage.cost_usd or 0.0),
        )
        if nonce is not None and bill.usage is not None:
            before = self._query("SELECT usage FROM deliveries WHERE nonce = ?", nonce)
            known = decode(before[0][0], Usage) if before and before[0][0] else None
            db.execute("UPDATE deliveries SET usage = ? WHERE nonce = ?", (encode(total(known, bill.usage)), nonce))

    # --- receipts on their way to the relay ---

    def post(self, message_id: int, receipt: Receipt) -> None:
        """Put a receipt into the outbox."""
        self._run("INSERT INTO outbox (message_id, receipt) VALUES (?, ?)", message_id, encode(receipt))

    def outbox(self) -> list[Posted]:
        """Return the receipts that the relay was not told yet, in order."""
        rows = self._query("SELECT seq, message_id, receipt FROM outbox ORDER BY seq")
        return [Posted(seq, message_id, decode(receipt, Receipt)) for seq, message_id, receipt in rows]

    def sent(self, seq: int) -> None:
        """Take a receipt out of the outbox."""
        self._run("DELETE FROM outbox WHERE seq = ?", seq)

    def pending(self, message_id: int) -> bool:
        """Say whether a receipt of this message waits."""
        return bool(self._query("SELECT 1 FROM outbox WHERE message_id = ? LIMIT 1", message_id))

    # --- facts ---

    def fact(self, name: str) -> str | None:
        """Return a remembered value."""
        rows = self._query("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def facts(self, prefix: str) -> dict[str, str]:
        """Return the remembered values whose names begin with `prefix`, by what follows it."""
        rows = self._query("SELECT name, value FROM facts WHERE substr(name, 1, ?) = ?", len(prefix), prefix)
        return {str(name)[len(prefix) :]: str(value) for name, value in rows}

    def remember(self, name: str, value: str | None) -> None:
        """Remember a value, or forget it."""
        if value is None:
            self._run("DELETE FROM facts WHERE name = ?", name)
        else:
            self._run("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", name, value)

    # --- inside ---

    def _rows(self, condition: str, *values: object) -> Iterator[Row]:
        query = f"SELECT {_COLUMNS} FROM deliveries WHERE {condition}"
        for row in self._query(query, *values):
            message, attempt, nonce, stage, process, channel, evidence, outcome, result, continues, usage, *rest = row
            session, reason, carried = rest
            yield Row(
                decode(message, Message), attempt, nonce, Stage(stage), process, channel, evidence,
                Outcome(outcome) if outcome else None, result, continues, decode(usage, Usage) if usage else None,
                session, reason, decode(carried, tuple[int, ...]) if carried else (),
            )  # fmt: skip


def _end(receipt: Receipt) -> tuple[object, ...]:
    """Return what a row keeps of how its turn ended."""
    return (receipt.outcome, receipt.result, receipt.reason, encode(receipt.carried))
