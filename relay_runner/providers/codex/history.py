"""Turns as the app-server lists them (`thread/turns/list` with full items), read for what they carried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import Evidence, TurnState
from relay_runner.providers.codex import failures

RUNNING = "inProgress"
OUTCOMES = {"completed": Outcome.COMPLETED, "interrupted": Outcome.INTERRUPTED, "failed": Outcome.FAILED}
SOURCE = "thread"
ASKED = "async"
"""How a question is delivered that the turn does not wait for."""


def items(turn: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """Return a turn's items of one type, in order."""
    return [item for item in turn.get("items") or () if isinstance(item, dict) and item.get("type") == kind]


def nonces(turn: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids that clients gave to the messages in a turn: ours are nonces."""
    return tuple(str(item["clientId"]) for item in items(turn, "userMessage") if item.get("clientId"))


def result(turn: Mapping[str, Any]) -> str | None:
    """Return the last thing that the model said in a turn, after the questions whose answers it did not wait for."""
    return final(items(turn, "agentMessage"))


def final(said: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a turn's result, out of all that the model said.

    It may ask in passing (`request_user_input_async`) and go on; an answer is then a message like any other.
    """
    if not said:
        return None
    asked = [one for one in said[:-1] if one.get("delivery") == ASKED]
    return "\n\n".join(str(one.get("text") or "") for one in (*asked, said[-1]))


def evidence(turns: Iterable[Mapping[str, Any]], nonce: str, turn_id: str | None = None) -> Evidence | None:
    """Return what these turns say of a nonce, or None where none of them carries it.

    `turn_id` is the turn that carried it by another record: one whose program was killed may lack the message's item.
    """
    for turn in turns:
        if nonce in nonces(turn) or (turn_id is not None and turn.get("id") == turn_id):
            return of_turn(turn)
    return None


def of_turn(turn: Mapping[str, Any]) -> Evidence:
    """Return what a turn says of any message that it carried."""
    carried = nonces(turn)
    by_hand = len(items(turn, "userMessage")) > len(carried)
    return replace(_of_turn(turn), carried=carried, by_hand=by_hand)


def _of_turn(turn: Mapping[str, Any]) -> Evidence:
    if turn.get("status") == RUNNING:
        return Evidence(True, SOURCE, TurnState.RUNNING)
    outcome = OUTCOMES.get(str(turn.get("status")), Outcome.FAILED)
    if outcome is Outcome.FAILED:
        ended_at = turn.get("completedAt")
        return failed(SOURCE, turn.get("error"), float(ended_at) if isinstance(ended_at, int | float) else 0.0)
    said = result(turn) if outcome is Outcome.COMPLETED else None
    return Evidence(True, SOURCE, TurnState.ENDED, outcome, said)


def failed(source: str, error: Mapping[str, Any] | None, now: float, resets_at: float | None = None) -> Evidence:
    """Return what is known of the messages of a turn that ended by this error."""
    limit = failures.limit(error, now, resets_at)
    outcome, reason = failures.outcome(error), failures.reason(error)
    return Evidence(True, source, TurnState.ENDED, outcome, None, reason, limit)
