"""Operations on what the model is given: inject, settings, outputSchema, goal."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from relay_runner.config import AgentPaths, private_dir, write_private
from relay_runner.errors import ProviderRefused
from relay_runner.protocol.envelope import sanitise, sanitise_line
from relay_runner.providers.base import ProcessState
from relay_runner.providers.codex import launch, sandbox
from relay_runner.providers.codex.operations.args import Args
from relay_runner.providers.codex.operations.room import Room
from relay_runner.providers.codex.settings import POLICIES, of_mode

SPILL_BYTES = 32_000
"""What is longer goes into a file, and the model is told where."""
READ_ONLY = "read-only"
SUMMARIES = ("auto", "concise", "detailed", "none")
"""How much of its reasoning the model tells."""
TAG = "injected-context"
STATES = ("active", "paused", "blocked", "complete")


async def inject(room: Room, args: Args) -> dict[str, Any]:
    """Put words into the context, as the developer's; the same id twice goes in once."""
    id, wake = args.text("id"), args.flag("wake")
    items = _items(room, args)
    if not items:
        raise ProviderRefused("content is missing")
    if room.doing is not None:
        raise ProviderRefused(f"Codex is {room.doing}", hint="try again when that is done")
    already = id is not None and id in room.memo.injected
    if not already:
        await room.of_thread("thread/inject_items", items=items)
        if id is not None:
            room.memo.inject(id)
    woken = wake and await _wake(room, id)
    return {"count": 0 if already else len(items), "already": already, "woken": woken}


async def settings(room: Room, args: Args) -> dict[str, Any]:
    """Change what the coming turns are run with, until the agent is started again."""
    changes: dict[str, Any] = {}
    for name in ("model", "effort", "cwd"):
        if (value := args.text(name)) is not None:
            changes[name] = value
    if (mode := args.one_of("approvalMode", tuple(launch.MODES))) is not None:
        if mode == READ_ONLY and room.spec.approval_mode != READ_ONLY:
            hint = "use sandbox=read-only for its shell, or start it with --approval-mode read-only"
            raise ProviderRefused("an agent is made read-only at its start: its MCP servers go on", hint=hint)
        changes.update(of_mode(mode))
    if (policy := args.one_of("approvalPolicy", POLICIES)) is not None:
        changes["approvalPolicy"] = policy
    if (wanted := args.one_of("sandbox", sandbox.SANDBOXES)) is not None:
        changes = {**sandbox.without(changes), **sandbox.of_settings(wanted)}
    if (summary := args.one_of("summary", SUMMARIES)) is not None:
        changes["summary"] = summary
    if not changes:
        raise ProviderRefused("nothing to change was named")
    await apply(room, changes)
    return {"applied": sorted(changes)}


async def apply(room: Room, changes: dict[str, Any]) -> None:
    """Change settings at once, or with the next turn where the server has no other way."""
    if "thread/settings/update" in room.session.methods:
        await room.of_thread("thread/settings/update", **changes)
    else:
        kept = sandbox.without(room.next_turn) if sandbox.without(changes) != changes else dict(room.next_turn)
        room.next_turn.clear()
        room.next_turn.update({**kept, **changes})


async def output_schema(room: Room, args: Args) -> dict[str, Any]:
    """Make the next turn's answer JSON of this schema; without a schema the next turn is as any."""
    schema = args.raw("schema")
    if schema is None:
        room.next_turn.pop("outputSchema", None)
        return {"outputSchema": None}
    if not isinstance(schema, dict):
        raise ProviderRefused("schema must be a JSON schema, an object")
    room.next_turn["outputSchema"] = schema
    return {"outputSchema": schema}


async def goal(room: Room, args: Args) -> dict[str, Any]:
    """Tell the goal of the session, or None."""
    return {"goal": (await room.of_thread("thread/goal/get")).get("goal")}


async def goal_set(room: Room, args: Args) -> dict[str, Any]:
    """Set the goal; while it is active Codex goes on by itself, turn after turn."""
    params: dict[str, Any] = {}
    for name, value in (
        ("objective", args.text("objective")),
        ("status", args.one_of("status", STATES)),
        ("tokenBudget", args.number("tokenBudget")),
    ):
        if value is not None:
            params[name] = value
    if not params:
        raise ProviderRefused("objective is missing")
    room.memo.put_aside(None)  # whatever was to become of the old one, this is what is wanted now
    return {"goal": (await room.of_thread("thread/goal/set", **params)).get("goal")}


async def goal_clear(room: Room, args: Args) -> dict[str, Any]:
    """Take the goal away."""
    room.memo.put_aside(None)
    return {"cleared": bool((await room.of_thread("thread/goal/clear")).get("cleared"))}


# --- inside -----------------------------------------------------------------------------------------------------------


def _items(room: Room, args: Args) -> list[dict[str, Any]]:
    """Return what goes in, one item per text; raw items as they are."""
    raw = args.raw("items") or []
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        raise ProviderRefused("items must be a list of objects")
    role = args.one_of("role", ("developer", "user")) or "developer"
    texts = [_framed(_spilled(room, sanitise(text)), args) for text in args.texts("content")]
    return [message(text, role) for text in texts] + raw


def message(text: str, role: str = "developer") -> dict[str, Any]:
    """Return one raw item of a conversation."""
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


def _framed(text: str, args: Args) -> str:
    """Return the text with why it comes and what memories it is made of."""
    words = ""
    for name, value in (("reason", args.text("reason")), ("memory-ids", ", ".join(args.texts("memoryIds")))):
        if value:
            words += f" {name}={json.dumps(sanitise_line(value), ensure_ascii=False)}"
    inside = text.replace(f"</{TAG}", f"<\\/{TAG}")
    return f"<{TAG}{words}>\n{inside}\n</{TAG}>"


def _spilled(room: Room, text: str) -> str:
    if len(text.encode()) <= SPILL_BYTES:
        return text
    folder = private_dir(AgentPaths(room.spec.agent_dir).injected)
    file = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.txt"
    write_private(file, text.encode())
    return f"{text[:1000]}\n[... the whole of it, {len(text)} characters, is in the file {file}]"


async def _wake(room: Room, id: str | None) -> bool:
    """Let the model look at it in a turn of its own, once; a turn that runs already sees it anyway."""
    mark = None if id is None else f"wake:{id}"
    if mark is not None and mark in room.memo.injected:
        return False
    async with room.submitting():
        if room.state is not ProcessState.IDLE:
            return False
        text = "Something was put into your context: look at it, and do what it asks for."
        params: dict[str, Any] = {"input": [{"type": "text", "text": text}]}
        if mark is not None:
            params["clientUserMessageId"] = mark
        await room.of_thread("turn/start", **params)
        if mark is not None:
            room.memo.inject(mark)
        return True
