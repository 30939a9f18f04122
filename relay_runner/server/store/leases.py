"""What a jump of the clock, and a relay that was away, do to leases and other times that run: nothing."""

from __future__ import annotations

from relay_runner.protocol.deliveries import MAX_LEASE_S, round_s
from relay_runner.server.store.writer import Transaction


def move_along(tx: Transaction, jump: float) -> None:
    """Move the ends of what runs along with a clock that jumped; `tx.now` is after the jump.

    Whoever holds a delivery has time for one round of renewals at least: its own clock may have jumped as well.
    """
    tx.run("move_leases", {"jump": jump, "least": tx.now + round_s(tx.lease_s), "most": tx.now + MAX_LEASE_S})
    for statement in ("move_delays", "move_signs_of_life", "move_commands"):
        tx.run(statement, {"jump": jump})


def grant_round(tx: Transaction) -> None:
    """Give whoever holds a delivery the time to renew it: no relay could be asked until now."""
    move_along(tx, 0.0)
