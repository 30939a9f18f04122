"""Which operations there are: what each needs of the server, what it takes, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_runner.errors import ProviderUnsupported
from relay_runner.providers.base import Operation
from relay_runner.providers.codex.operations import context, reading, sessions, tools, turns
from relay_runner.providers.codex.operations.args import Args
from relay_runner.providers.codex.operations.room import Room

FOLDERS = "absolute paths of other folders: a text, or a list of them"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    run: Callable[[Room, Args], Awaitable[dict[str, Any]]]
    methods: tuple[str, ...] = ()
    """What the server must have for it."""
    takes: Mapping[str, str] = field(default_factory=dict)
    """Its arguments, and what each means."""

    @property
    def told(self) -> Operation:
        """What whoever orders it is told."""
        summary = (self.run.__doc__ or "").strip().splitlines()[0].rstrip(".")
        return Operation(summary[:1].lower() + summary[1:], self.takes)


OPERATIONS: Mapping[str, Row] = {
    "compact": Row(turns.compact, ("thread/compact/start",), {"wait": "false: answer once it has begun"}),
    "review": Row(
        turns.review,
        ("review/start",),
        {
            "target": "uncommitted (default), branch, commit or custom",
            "branch": "the branch to compare with",
            "commit": "the commit to review",
            "title": "what the commit is about",
            "instructions": "what to review, in words",
        },
    ),
    "shell": Row(
        turns.shell, ("thread/shellCommand",), {"command": "the command line", "timeoutMs": "end it after that"}
    ),
    "revert": Row(
        turns.revert, ("thread/revert",), {"turns": "how many (1)", "before": "the oldest turn to take back, by its id"}
    ),
    "turns": Row(turns.turns, ("thread/turns/list",), {"limit": "how many (5)", "turnId": "only this one"}),
    "clear": Row(sessions.clear, ("thread/start",), {"archive": "true: archive the old session"}),
    "fork": Row(
        sessions.fork,
        ("thread/fork",),
        {
            "switch": "true: the agent goes on in the copy",
            "last": "the last turn that is copied, by its id",
            "before": "the first turn that is not copied, by its id",
            "name": "the copy's name",
        },
    ),
    "resume": Row(sessions.resume, ("thread/resume",), {"sessionId": "the session to go on with"}),
    "archive": Row(sessions.archive, ("thread/archive",), {"sessionId": "the session to put away"}),
    "rename": Row(
        sessions.rename, ("thread/name/set",), {"name": "the new name", "sessionId": "which session (its own)"}
    ),
    "delete": Row(sessions.delete, ("thread/delete",), {"sessionId": "the session to delete"}),
    "sessions": Row(
        sessions.sessions, ("thread/list",), {"limit": "how many (10)", "archived": "true: those that are archived"}
    ),
    "inject": Row(
        context.inject,
        ("thread/inject_items",),
        {
            "content": "a text, or a list of them",
            "items": "raw items of a conversation",
            "role": "developer (default) or user",
            "reason": "why",
            "memoryIds": "which memories it is made of",
            "id": "the same id goes in once",
            "wake": "true: let the model look at it at once",
        },
    ),
    "settings": Row(
        context.settings,
        (),
        {
            "model": "the model",
            "effort": "its reasoning effort",
            "cwd": "the folder",
            "approvalMode": "ask, accept-edits, auto, read-only or bypass",
            "approvalPolicy": "untrusted, on-request or never",
            "sandbox": "read-only, workspace-write or danger-full-access",
            "summary": "how much of its reasoning it shows: auto, concise, detailed or none",
        },
    ),
    "outputSchema": Row(context.output_schema, (), {"schema": "a JSON schema; none takes it back"}),
    "goal": Row(context.goal, ("thread/goal/get",)),
    "goalSet": Row(
        context.goal_set,
        ("thread/goal/set",),
        {
            "objective": "what is to be reached",
            "status": "active (default), paused, blocked or complete",
            "tokenBudget": "how many tokens it may cost",
        },
    ),
    "goalClear": Row(context.goal_clear, ("thread/goal/clear",)),
    "skills": Row(reading.skills, ("skills/list",), {"reload": "true: look at the files again", "folders": FOLDERS}),
    "mcp": Row(reading.mcp, ("mcpServerStatus/list",)),
    "mcpCall": Row(
        tools.mcp_call,
        ("mcpServer/tool/call",),
        {"server": "the MCP server", "tool": "its tool", "arguments": "the tool's arguments, an object"},
    ),
    "mcpResource": Row(
        tools.mcp_resource, ("mcpServer/resource/read",), {"server": "the MCP server", "uri": "the resource"}
    ),
    "hooks": Row(tools.hooks, ("hooks/list",), {"folders": FOLDERS}),
    "permissionProfiles": Row(tools.permission_profiles, ("permissionProfile/list",)),
    "mcpReload": Row(reading.mcp_reload, ("config/mcpServer/reload",)),
    "models": Row(reading.models, ("model/list",), {"hidden": "true: include hidden ones"}),
    "usage": Row(reading.usage),
    "limits": Row(reading.limits),
    "terminals": Row(reading.terminals, ("thread/backgroundTerminals/list",)),
    "terminalsClean": Row(reading.terminals_clean, ("thread/backgroundTerminals/clean",), {"id": "only this one"}),
}


def available(methods: frozenset[str]) -> dict[str, Operation]:
    """Return the operations for which the server has what they need; all, where it did not tell its methods."""
    return {name: row.told for name, row in OPERATIONS.items() if not methods or methods.issuperset(row.methods)}


async def run(room: Room, action: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Do one operation; unsupported where there is no such thing, or not in this version."""
    row = OPERATIONS.get(action)
    if row is None:
        raise ProviderUnsupported(f"codex has no operation {action!r}", hint="`operate` without one lists them")
    methods = room.session.methods
    if missing := [method for method in row.methods if methods and method not in methods]:
        raise ProviderUnsupported(f"this version of Codex cannot {action}: it has no {', '.join(missing)}")
    row.told.check(action, args)
    return await row.run(room, Args(args))
