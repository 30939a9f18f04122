"""What is answered to a question of the app-server (0.169.0); see `questions` for what it asks.

A plain no (`decline`) carries no words: why not is put beside it, as `process` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay_runner.protocol.permissions import Decision
from relay_runner.providers.base import Answer
from relay_runner.providers.codex import forms, questions
from relay_runner.providers.codex.client import Request

NO = frozenset({Decision.DENY, Decision.ABORT})
WORDS = {
    Decision.APPROVE: "accept",
    Decision.APPROVE_SESSION: "acceptForSession",
    Decision.DENY: "decline",
    Decision.ABORT: "cancel",
}

AGAIN: Mapping[str, Any] = {"action": "accept", "content": {}}
"""The answer to a call of an MCP tool that was approved for the session."""


OUTPUT = frozenset({"item/commandExecution/outputDelta", "item/fileChange/outputDelta"})
"""What only an item that was allowed says."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The result to answer with, and whether the turn has to be stopped besides."""

    result: Mapping[str, Any]
    interrupt: bool = False


def reply(request: Request, answer: Answer) -> Reply:
    """Return how an answer is put; raise `ProviderRefused` where it does not fit. The decision is one of those offered.

    `cancel` ends the turn only where a command or a change was asked for; elsewhere it is interrupted besides.
    """
    stop = answer.decision is Decision.ABORT
    match request.method:
        case questions.ACCESS:
            return Reply(_access(request.params, answer.decision), stop)
        case questions.INPUT:
            return Reply({"answers": {} if answer.decision in NO else _told(answer)}, stop)
        case questions.ELICITATION:
            return Reply(_elicited(request.params, answer), stop)
    always = questions.always(request) if answer.decision is Decision.APPROVE_ALWAYS else None
    return Reply({"decision": always or WORDS[answer.decision]})


def granted(request: Request, method: str, params: Mapping[str, Any]) -> bool | None:
    """Return what a notification after the end of a question says of its answer: yes, no, or nothing.

    Only the item itself says it. That its thread waits no more is told after the end of a declined item by 0.169.0,
    and before it as often as not by 0.171.0.
    """
    item, asked = params.get("item"), request.params.get("itemId")
    if params.get("threadId") != request.thread_id:
        return None
    if method == "item/completed" and isinstance(item, dict) and item.get("id") == asked:
        return bool(item.get("status") != "declined")
    if method in OUTPUT and params.get("itemId") == asked:
        return True
    return None


def _access(params: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    if decision in NO:
        return {"permissions": {}}
    scope = "session" if decision is Decision.APPROVE_SESSION else "turn"
    return {"permissions": params.get("permissions") or {}, "scope": scope}


def _told(answer: Answer) -> dict[str, Any]:
    told = {}
    for name, value in answer.answers.items():
        told[name] = {"answers": [str(one) for one in (value if isinstance(value, list | tuple) else [value])]}
    return told


def _elicited(params: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    if answer.decision in NO:
        return {"action": WORDS[answer.decision]}
    result: dict[str, Any] = {
        "action": "accept",
        "content": forms.content(params.get("requestedSchema"), answer.answers),
    }
    if answer.decision is Decision.APPROVE_ALWAYS:
        result["_meta"] = {"persist": "always"}
    return result
