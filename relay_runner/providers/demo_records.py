"""What the demo agent's transcript and screen say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.permissions import Decision, Question
from relay_runner.protocol.usage import Usage
from relay_runner.protocol.wire import convert
from relay_runner.providers.base import (
    NOT_FOUND,
    Event,
    Evidence,
    Limit,
    PermissionAsked,
    PermissionClosed,
    ProcessState,
    Seen,
    SessionStarted,
    StateChanged,
    SubagentEnded,
    SubagentStarted,
    TurnEnded,
    TurnStarted,
    TurnState,
)
from relay_runner.providers.tail import scan
from relay_runner.terminal.base import Screen

PROMPT = "demo> "
CHOICE = "choice"
OFFERED = (Decision.APPROVE, Decision.APPROVE_SESSION, Decision.DENY, Decision.ABORT)
SOURCE = "transcript"


def find(file: Path, nonce: str) -> Evidence:
    """Return what a session's transcript says of one nonce, or else one of the sessions before it."""
    others = sorted(file.parent.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in (file, *(other for other in others if other != file)):
        if (found := _find(path, nonce)).seen:
            return found
    return NOT_FOUND


def _find(file: Path, nonce: str) -> Evidence:
    found = NOT_FOUND
    for record in scan(file, containing=nonce.encode()):
        if not isinstance(record, dict) or nonce not in record.get("nonces", ()):
            continue
        if record["type"] == "prompt":
            found = Evidence(seen=True, source=SOURCE, turn=TurnState.RUNNING)
        elif record["type"] == "turn-ended":
            found = _ended(record)
    return found


def condense(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records that still hold: the newest session, what runs, what is asked, the last state."""
    session: list[dict[str, Any]] = []
    turn: list[dict[str, Any]] = []
    subagents: dict[str, dict[str, Any]] = {}
    asked: dict[str, dict[str, Any]] = {}
    state: list[dict[str, Any]] = []
    for record in records:
        match record.get("type"):
            case "session":
                session, turn, subagents, asked, state = [record], [], {}, {}, []
            case "prompt":
                turn, state = [record], []  # it is about to say that it is busy: idle is over
            case "turn-started":
                turn.append(record)
            case "turn-ended":
                turn = []
            case "subagent-started":
                subagents[record["id"]] = record
            case "subagent-ended":
                subagents.pop(record["id"], None)
            case "asked":
                asked[record["id"]] = record
            case "answered" | "withdrawn":
                asked.pop(record["id"], None)
            case "state" | "cleared":
                state = [record]
    return [*session, *turn, *subagents.values(), *asked.values(), *state]


def events(record: Mapping[str, Any]) -> tuple[Event, ...]:
    """Return what one record of the transcript says."""
    match record.get("type"):
        case "session":
            source = "clear" if record.get("cleared") else "resume" if record["resumed"] else "startup"
            return (SessionStarted(record["session"], source),)
        case "state":
            return (StateChanged(ProcessState(record["state"]), SOURCE, record["detail"]),)
        case "prompt":
            return tuple(Seen(nonce, SOURCE) for nonce in record["nonces"])
        case "turn-started":
            return (TurnStarted(record["turn"], SOURCE, tuple(record["nonces"])),)
        case "turn-ended":
            end = _ended(record)
            return (
                TurnEnded(
                    end.outcome or Outcome.FAILED, SOURCE, tuple(record["nonces"]),
                    end.result, end.reason, end.limit, end.usage,
                ),
            )  # fmt: skip
        case "asked":
            return (_asked(record),)
        case "answered":
            return (PermissionClosed(record["id"], SOURCE, decision=Decision(record["decision"])),)
        case "withdrawn":
            return (PermissionClosed(record["id"], SOURCE, answered=False),)
        case "subagent-started":
            return (SubagentStarted(record["id"], SOURCE, record["role"]),)
        case "subagent-ended":
            return (SubagentEnded(record["id"], SOURCE),)
    return ()


def _asked(record: Mapping[str, Any]) -> PermissionAsked:
    options = tuple(record["options"])
    if not options:
        return PermissionAsked(record["id"], "tool", record["text"], SOURCE, decisions=tuple(OFFERED))
    question = Question(id=CHOICE, text=record["text"], options=options)
    decisions = tuple(decision for decision in OFFERED if decision is not Decision.APPROVE_SESSION)
    return PermissionAsked(record["id"], "question", record["text"], SOURCE, decisions=decisions, questions=(question,))


def _ended(record: Mapping[str, Any]) -> Evidence:
    """Return what the end of a turn says, also as older sessions wrote it."""
    limit, usage = record.get("limit"), record.get("usage")
    return Evidence(
        True, SOURCE, TurnState.ENDED, Outcome(record["outcome"]), record["text"], record["reason"],
        Limit(limit["reason"], limit["until"]) if limit else None, convert(usage, Usage) if usage else None,
    )  # fmt: skip


def input_line(screen: Screen) -> str | None:
    """Return what stands on the input line, "" when nothing does, None when there is no input line."""
    _, row = screen.cursor
    line = screen.lines[row] if row < len(screen.lines) else ""
    if not (line + " ").startswith(PROMPT):
        return None
    return line[len(PROMPT) :]
