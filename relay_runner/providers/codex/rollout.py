"""What an app-server left on disk: the thread's rollout file, one JSON object a line (0.169.0; undocumented).

Asked of turns when no app-server can be: a live one says the same by `thread/turns/list`, and better, but for a turn
that its predecessor was killed in. What a call in progress is about to change is nowhere else once its item was told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import ABSENT, NOT_FOUND, Evidence, TurnState, unsure
from relay_runner.providers.codex.history import failed
from relay_runner.providers.codex.metering import Meter
from relay_runner.providers.tail import mentions, scan, scan_marked

SOURCE = "rollout"
PATCHED = re.compile(r"^\*\*\* (Add|Update|Delete) File: (.+)\n((?:(?!\*\*\* ).*\n?)*)", re.MULTILINE)
CUT_OFF = "the program ended in the middle of the turn"
HALF_WRITTEN = "the program ended while it was recording the message"


def find(path: Path | None, nonce: str) -> Evidence:
    """Read a rollout from its start; a turn without an end was cut off, for its program is dead."""
    return read(path, nonce)[0]


def read(path: Path | None, nonce: str) -> tuple[Evidence, str | None]:
    """Return what a rollout says of a nonce, as `find` does, and the id of the turn that carried it."""
    if path is None or not path.exists():
        return NOT_FOUND, None
    if not mentions(path, nonce.encode()):
        return ABSENT, None
    begun: str | None = None
    turn_id: str | None = None
    seen = False
    prompts: list[str | None] = []
    meter = Meter()
    meter.begin(SOURCE)
    for line, holds in scan_marked(path, nonce.encode()):
        if not isinstance(line, dict) or not isinstance(event := line.get("payload"), dict):
            continue
        if holds and not seen:
            seen, turn_id = True, str(event.get("turn_id") or begun)
        if line.get("type") != "event_msg":
            continue
        if event.get("type") == "item_completed" and event.get("turn_id") == (turn_id if seen else begun):
            prompts.extend(_prompt(event))
        if event.get("type") == "token_count" and isinstance(info := event.get("info"), dict):
            meter.read(SOURCE, {"total": _camel(info.get("total_token_usage"))})
        elif not seen and event.get("type") == "task_started":
            begun = event.get("turn_id")
            prompts.clear()
            meter.take()
        elif seen and event.get("turn_id") == turn_id and (ended := _end(event)) is not None:
            return _with(ended, prompts, meter), turn_id
    if not seen:
        return unsure(HALF_WRITTEN), None
    cut_off = Evidence(True, SOURCE, TurnState.ENDED, Outcome.INTERRUPTED, None, CUT_OFF)
    return _with(cut_off, prompts, meter), turn_id


def _prompt(event: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return the client's id of the prompt that was taken in, if it is one."""
    item = event.get("item")
    return (item.get("client_id"),) if isinstance(item, dict) and item.get("type") == "UserMessage" else ()


def _with(found: Evidence, prompts: list[str | None], meter: Meter) -> Evidence:
    carried = tuple(one for one in prompts if one)
    return replace(found, carried=carried, by_hand=len(carried) < len(prompts), usage=meter.take())


def used(path: Path | None) -> dict[str, Any] | None:
    """Return the thread's running total of tokens, as the app-server tells it; None where nothing was used."""
    total = None
    for line in scan(path, containing=b"token_count") if path is not None else ():
        event = line.get("payload") if isinstance(line, dict) and line.get("type") == "event_msg" else None
        info = event.get("info") if isinstance(event, dict) and event.get("type") == "token_count" else None
        if isinstance(info, dict) and isinstance(told := info.get("total_token_usage"), dict):
            total = told
    return _camel(total) if total is not None else None


def changes(path: Path | None, call_id: str) -> list[dict[str, Any]]:
    """Return what a call of `apply_patch` is about to change; the patch itself stands in for each file's diff."""
    for line in scan(path, containing=call_id.encode()) if path is not None else ():
        call = line.get("payload") if isinstance(line, dict) and line.get("type") == "response_item" else None
        if isinstance(call, dict) and call.get("call_id") == call_id and isinstance(patch := call.get("input"), str):
            return [
                {"path": name.strip(), "kind": {"type": kind.lower()}, "diff": body}
                for kind, name, body in PATCHED.findall(patch)
            ]
    return []


def _end(event: Mapping[str, Any]) -> Evidence | None:
    match event.get("type"):
        case "task_complete" if isinstance(error := event.get("error"), dict):
            told = {"message": error.get("message"), "codexErrorInfo": _camel(error.get("codex_error_info"))}
            return failed(SOURCE, told, float(event.get("completed_at") or 0.0))
        case "task_complete":
            text = event.get("last_agent_message")
            return Evidence(True, SOURCE, TurnState.ENDED, Outcome.COMPLETED, None if text is None else str(text))
        case "turn_aborted":
            return Evidence(True, SOURCE, TurnState.ENDED, Outcome.INTERRUPTED)
    return None


def _camel(info: Any) -> Any:
    """Return names as the app-server writes them: the rollout has its own spelling."""
    if isinstance(info, dict):
        return {_camel(name): _camel(value) if isinstance(value, dict) else value for name, value in info.items()}
    if not isinstance(info, str):
        return info
    first, *others = info.split("_")
    return first + "".join(word.capitalize() for word in others)
