"""What became of a message, as a person and a script want it: one state, one outcome, one exit code."""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins

from relay_runner.cli.exits import Exit
from relay_runner.protocol.messages import TERMINAL, UNPROVEN, Delivery, MessageRecord, Outcome, State
from relay_runner.protocol.tasks import carried

# From the first receipt to the last; a message for many is where its slowest delivery is.
_ORDER = (
    State.QUEUED,
    State.CLAIMED,
    State.SUBMITTING,
    State.SUBMITTED,
    State.SEEN,
    State.DONE,
    State.UNKNOWN,
    State.DEAD,
)
_OUTCOMES = {
    Outcome.COMPLETED: Exit.OK,
    Outcome.FAILED: Exit.FAILED,
    Outcome.BLOCKED: Exit.FAILED,
    Outcome.INTERRUPTED: Exit.INTERRUPTED,
}
_WORST_FIRST = (Exit.FAILED, Exit.UNKNOWN, Exit.INTERRUPTED, Exit.TIMED_OUT)


def unproven(delivery: Delivery) -> bool:
    """Say whether this delivery ended at `submitted`, because its provider can prove no more."""
    return delivery.state is State.SUBMITTED and delivery.evidence == UNPROVEN


def settled(record: MessageRecord, replied: frozenset[str] = frozenset()) -> bool:
    """Say whether nothing more is to be waited for; a person has no turn, and is done when they replied."""
    return bool(record.deliveries) and all(_ended(delivery, replied) for delivery in record.deliveries)


def exit_code(record: MessageRecord, replied: frozenset[str] = frozenset()) -> Exit:
    """Return the exit code of a message: the worst of its deliveries."""
    codes = {_code(delivery, replied) for delivery in record.deliveries} or {Exit.TIMED_OUT}
    return next((code for code in _WORST_FIRST if code in codes), Exit.OK)


def state(record: MessageRecord) -> State:
    """Return the state of its slowest delivery; where all ended, that of the worst."""
    states = [delivery.state for delivery in record.deliveries] or [State.QUEUED]
    waiting = [one for one in states if one not in TERMINAL]
    return min(waiting, key=_ORDER.index) if waiting else max(states, key=_ORDER.index)


def outcome(record: MessageRecord) -> Outcome | None:
    """Return the outcome of the turn, of several the worst; None where no turn ended."""
    found = [delivery.outcome for delivery in record.deliveries if delivery.outcome is not None]
    return max(found, key=lambda one: (_OUTCOMES[one] is not Exit.OK, _OUTCOMES[one] is Exit.FAILED), default=None)


def result(record: MessageRecord) -> str | None:
    """Return the turn's final text; of several turns those that have one, apart by a blank line."""
    found = [delivery.result for delivery in record.deliveries if delivery.result is not None]
    return "\n\n".join(found) if found else None


def describe(delivery: Delivery) -> str:
    """Return one line for a person: `bob: done (completed)`, `bob: dead, agent-removed`."""
    who = name(delivery.recipient) if delivery.recipient else "(nobody yet)"
    text = f"{who}: {delivery.state}"
    if delivery.outcome is not None:
        text += f" ({delivery.outcome})"
    elif unproven(delivery):
        text += f" ({UNPROVEN})"
    reason = delivery.reason if delivery.reason != delivery.outcome else None
    for detail in (delivery.held and f"held: {delivery.held}", reason):
        text += f", {detail}" if detail else ""
    return text


def shared(delivery: Delivery) -> str | None:
    """Return which messages its turn carried beside it, `message 41, message 43`; None where it was alone."""
    others = [f"message {id}" for id in delivery.carried if id != delivery.message_id]
    return ", ".join(others) or None


def used(delivery: Delivery) -> str | None:
    """Return what the turns that worked on it used, `1010 tokens in, 10 out, 0.25 USD`; None where nobody told."""
    usage = delivery.usage
    if usage is None:
        return None
    cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
    parts = (
        f"{usage.input_tokens} tokens in{cached}" if usage.input_tokens is not None else None,
        f"{usage.output_tokens} out" if usage.output_tokens is not None else None,
        f"{usage.cost_usd:.4g} USD" if usage.cost_usd is not None else None,
    )
    return ", ".join(part for part in parts if part) or None


def progress(delivery: Delivery) -> str | None:
    """Return how far a delivery is, `bob has seen message 5 and works on it`; None for one that has ended."""
    who = name(delivery.recipient) if delivery.recipient else "nobody"
    message = f"message {delivery.message_id}"
    if _is_person(delivery):
        return f"{who} has not answered {message}"
    match delivery.state:
        case State.QUEUED:
            held = f" ({delivery.held})" if delivery.held else ""
            return (
                f"{who} has not taken {message} yet{held}" if delivery.recipient else f"nobody has taken {message} yet"
            )
        case State.CLAIMED | State.SUBMITTING:
            return f"{message} is on its way into {who}"
        case State.SUBMITTED:
            return None if unproven(delivery) else f"{who} has {message}, and has not shown yet that it saw it"
        case State.SEEN:
            does = f"goes on with it later ({delivery.held})" if delivery.held else "works on it"
            return f"{who} has seen {message} and {does}"
    return None


def name(principal: str) -> str:
    """Return how a person types this principal as an address."""
    return principal.removeprefix("agent:")


def as_json(record: MessageRecord, replies: list[MessageRecord]) -> dict[str, Any]:
    """Return the stable shape of `send --json`; `reply` is the first one, `replies` are all."""
    said = [{"id": one.message.id, "from": one.message.sender, "body": one.message.body} for one in replies]
    text = result(record)
    return {
        "id": record.message.id,
        "to": record.message.to,
        "state": state(record),
        "outcome": outcome(record),
        "result": None if text is None else {"text": text},
        "reply": said[0] if said else None,
        "replies": said,
        "taskId": carried(record.message.payload),
        "deliveries": [
            {
                "recipient": one.recipient,
                "state": one.state,
                "outcome": one.outcome,
                "evidence": one.evidence,
                "held": one.held,
                "reason": one.reason,
                "result": None if one.result is None else {"text": one.result},
                "carried": list(one.carried),
                "usage": None if one.usage is None else to_builtins(one.usage),
            }
            for one in record.deliveries
        ],
    }


def _ended(delivery: Delivery, replied: frozenset[str]) -> bool:
    if delivery.state in TERMINAL or unproven(delivery):
        return True
    return _is_person(delivery) and delivery.recipient in replied


def _code(delivery: Delivery, replied: frozenset[str]) -> Exit:
    match delivery.state:
        case State.DONE:
            return _OUTCOMES[delivery.outcome or Outcome.COMPLETED]
        case State.DEAD:
            return Exit.FAILED
        case State.UNKNOWN:
            return Exit.UNKNOWN
    return Exit.OK if _ended(delivery, replied) else Exit.TIMED_OUT


def _is_person(delivery: Delivery) -> bool:
    return (delivery.recipient or "").startswith("person:")
