"""Commands and tokens."""

from __future__ import annotations

import secrets

from relay_runner.errors import RelayNotFound
from relay_runner.protocol import acceptance
from relay_runner.protocol.access import Caller, token_expired, token_revoked
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.commands import Command, CommandUpdate, NewCommand
from relay_runner.protocol.orders import RUNNING_SLACK_S, check_command, lapse_command, move_command
from relay_runner.protocol.tokens import TokenGrant, TokenInfo
from relay_runner.server.store.rows import Row, command_of, strings_of, to_json
from relay_runner.server.store.writer import Transaction

MAX_TOKENS = 1000
"""How many tokens are listed at most."""
TOKENS_LISTED_S = 24 * 3600.0
"""How long a token is listed after its end."""


def command(tx: Transaction, caller: Caller, new: NewCommand) -> Command:
    """Take an order about an agent that is known by its own or its runner's id."""
    check_command(new)
    if new.idempotency_key is not None:
        since = tx.now - acceptance.IDEMPOTENCY_S
        known = tx.one("get_key", (caller.subject, "command", new.idempotency_key, since))
        if known is not None:
            return command_of(_command_row(tx, known[0]))
    target = tx.one("agent_by_target", {"target": new.target})
    if target is None:
        raise acceptance.unknown_agent(new.target, [row[0] for row in tx.run("agent_ids")])
    command_id = f"cmd-{secrets.token_hex(8)}"
    args = to_json(new.args)
    values = (command_id, new.type, new.target, target[0], caller.subject, args, new.timeout_s, tx.now, tx.now)
    tx.run("insert_command", values)
    if new.idempotency_key is not None:
        tx.run("put_key", (caller.subject, "command", new.idempotency_key, command_id, tx.now))
    return _tell(tx, command_id)


def get_command(tx: Transaction, caller: Caller, command_id: str) -> Command:
    """Return an order to its giver, its target, or an operator."""
    row = _command_row(tx, command_id)
    found = command_of(row)
    if not caller.may_see(found.sender, agent_principal(row[10])):
        raise RelayNotFound(f"there is no command {command_id}")
    return found


def commands(tx: Transaction, agent_id: str, *, pending: bool) -> list[Command]:
    """Return an agent's orders, oldest first."""
    return [command_of(row) for row in tx.run("commands_open" if pending else "commands_of", (agent_id,))]


def update_command(tx: Transaction, caller: Caller, command_id: str, update: CommandUpdate) -> Command:
    """Move an order on by its agent's runner; what it said first of the end stands."""
    row = _command_row(tx, command_id)
    caller.need_agent(row[10])
    before = command_of(row)
    after = move_command(before, update, tx.now)
    return before if after is before else _put(tx, after)


def sweep(tx: Transaction) -> None:
    """Fail the orders that nobody took or answered in time."""
    for row in tx.run("commands_due", {"now": tx.now, "slack": RUNNING_SLACK_S}).fetchall():
        _put(tx, lapse_command(command_of(row), tx.now))


def check_token(tx: Transaction, caller: Caller, grace_s: float) -> None:
    """Raise unless a caller's token is good now."""
    if caller.expires_at + grace_s <= tx.now:
        raise token_expired()
    _check_good(tx, caller.jti)


def put_token(tx: Transaction, grant: TokenGrant, parent: str | None) -> None:
    """Remember a token, never its text."""
    if parent is not None:
        # A revocation takes along the successors that it finds: none may come after it.
        _check_good(tx, parent)
    scopes = to_json(grant.scopes)
    values = (grant.jti, parent, grant.subject, grant.profile_id, scopes, grant.issued_at, grant.expires_at)
    tx.run("insert_token", values)


def tokens(tx: Transaction) -> list[TokenInfo]:
    """Return what is known of the newest tokens, each with those renewed from it."""
    rows = tx.run("tokens", (tx.now - TOKENS_LISTED_S, MAX_TOKENS)).fetchall()
    heirs: dict[str, list[str]] = {}
    for row in reversed(rows):
        heirs.setdefault(row[1] or "", []).append(row[0])
    return [
        TokenInfo(
            jti=row[0],
            subject=row[2],
            profile_id=row[3],
            scopes=strings_of(row[4]),
            issued_at=row[5],
            expires_at=row[6],
            revoked_at=row[7],
            successors=tuple(heirs.get(row[0], ())),
        )
        for row in rows
    ]


def revoke_token(tx: Transaction, jti: str) -> None:
    """Make a token and everything renewed from it worthless."""
    if tx.one("token_revoked", (jti,)) is None:
        raise RelayNotFound(f"there is no token {jti}")
    for (heir,) in tx.run("token_heirs", (jti,)).fetchall():
        tx.run("revoke_token", (tx.now, heir))
        tx.emit("token", {"jti": heir, "revoked": True})


def _check_good(tx: Transaction, jti: str) -> None:
    row = tx.one("token_revoked", (jti,))
    if row is None or row[0]:
        raise token_revoked()


def _command_row(tx: Transaction, command_id: str) -> Row:
    row = tx.one("command", (command_id,))
    if row is None:
        raise RelayNotFound(f"there is no command {command_id[:80]}")
    return row


def _put(tx: Transaction, command: Command) -> Command:
    tx.run("update_command", (command.state.value, to_json(command.result), command.updated_at, command.id))
    return _tell(tx, command.id)


def _tell(tx: Transaction, command_id: str) -> Command:
    row = _command_row(tx, command_id)
    told = command_of(row)
    data = {"id": told.id, "type": told.type, "agentId": row[10], "from": told.sender, "state": told.state.value}
    tx.emit("command", data, command=told, target=row[10])
    return told
