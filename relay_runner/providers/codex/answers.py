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
    """Return what a notification after the end of a question says of its answer: yes, no, or nothing (0.169.0).

    An item that was declined is told so before its thread is told to wait no more; one that was allowed, after that.
    """
    item = params.get("item")
    if params.get("threadId") != request.thread_id:
        return None
    if method == "item/completed" and isinstance(item, dict) and item.get("id") == request.params.get("itemId"):
        return bool(item.get("status") != "declined")
    if method == "thread/status/changed":
        return None if (params.get("status") or {}).get("activeFlags") else True
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
