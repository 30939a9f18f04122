"""What is forgotten, and when: one tidying takes a little of everything, so that it never holds up the writer."""

from __future__ import annotations

from relay_runner.protocol.acceptance import IDEMPOTENCY_S
from relay_runner.protocol.messages import TERMINAL, UNPROVEN
from relay_runner.server.store.rows import to_json
from relay_runner.server.store.writer import Transaction

DAY_S = 24 * 3600.0
EVENTS_KEPT_S = 7 * DAY_S
MESSAGES_KEPT_S = 30 * DAY_S
"""How long a message stays after the last thing that happened to it; one on which something is to be done stays."""
INSTANCES_KEPT_S = 30 * DAY_S
"""How long an instance that was superseded is remembered: it must not come back."""
AGENTS_KEPT_S = 30 * DAY_S
"""How long an agent that was removed is remembered; longer where messages for it stay."""
COMMANDS_KEPT_S = 7 * DAY_S
TASKS_KEPT_S = 30 * DAY_S
"""How long a task stays after the last thing that happened to it; longer where a message that carries it stays."""
PERMISSIONS_KEPT_S = 7 * DAY_S
STALE_PERMISSIONS_KEPT_S = 30 * DAY_S
"""How long a permission stays that nothing happened to and that nobody closed: its agent never came back."""
TOKENS_KEPT_S = DAY_S
EVENTS_FORGOTTEN = 20_000
FORGOTTEN = 200
"""How many messages, and how many instances and commands, one tidying forgets at most."""
LOOKED_AT = 2000
"""How many of the oldest messages are looked at for those that can go."""


def tidy(tx: Transaction) -> bool:
    """Forget some of what is too old to matter; say whether there is more of it."""
    more = tx.run("forget_events", (tx.now - EVENTS_KEPT_S, EVENTS_FORGOTTEN)).rowcount == EVENTS_FORGOTTEN
    more |= _messages(tx) == FORGOTTEN
    more |= _agents(tx) == FORGOTTEN
    more |= tx.run("forget_instances", {"before": tx.now - INSTANCES_KEPT_S, "limit": FORGOTTEN}).rowcount == FORGOTTEN
    more |= tx.run("forget_commands", (tx.now - COMMANDS_KEPT_S, FORGOTTEN)).rowcount == FORGOTTEN
    more |= tx.run("forget_tasks", {"before": tx.now - TASKS_KEPT_S, "limit": FORGOTTEN}).rowcount == FORGOTTEN
    permissions = {
        "closed": tx.now - PERMISSIONS_KEPT_S,
        "stale": tx.now - STALE_PERMISSIONS_KEPT_S,
        "limit": FORGOTTEN,
    }
    more |= tx.run("forget_permissions", permissions).rowcount == FORGOTTEN
    tx.run("forget_keys", (tx.now - IDEMPOTENCY_S,))
    tx.run("forget_tokens", {"before": tx.now - TOKENS_KEPT_S})
    return more


def _messages(tx: Transaction) -> int:
    """Forget old messages with all that belongs to them; return how many."""
    parameters = {
        "before": tx.now - MESSAGES_KEPT_S,
        "terminal": to_json(sorted(TERMINAL)),
        "unproven": UNPROVEN,
        "looked_at": LOOKED_AT,
        "limit": FORGOTTEN,
    }
    found = [row[0] for row in tx.run("messages_over", parameters)]
    ids = (to_json(found),)
    for statement in ("forget_deliveries", "forget_reactions", "forget_attachment_uses", "forget_messages"):
        tx.run(statement, ids)
    return len(found)


def _agents(tx: Transaction) -> int:
    """Forget agents that were removed long ago with all that belongs to them; return how many."""
    found = [row[0] for row in tx.run("agents_over", {"before": tx.now - AGENTS_KEPT_S, "limit": FORGOTTEN})]
    for statement in ("forget_timeline_of", "forget_instances_of", "forget_agents"):
        tx.run(statement, (to_json(found),))
    return len(found)
