"""Which operations there are: what each needs of the server, what it takes, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_runner.errors import ProviderUnsupported
from relay_runner.providers.codex.operations import context, reading, sessions, turns
from relay_runner.providers.codex.operations.args import Args
from relay_runner.providers.codex.operations.room import Room


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table."""

    run: Callable[[Room, Args], Awaitable[dict[str, Any]]]
    methods: tuple[str, ...] = ()
    """What the server must have for it."""
    takes: Mapping[str, str] = field(default_factory=dict)
    """Its arguments, and what each means."""

    @property
    def summary(self) -> str:
        """One line for a person."""
        return (self.run.__doc__ or "").strip().splitlines()[0].rstrip(".")


async def operations(room: Room, args: Args) -> dict[str, Any]:
    """List what this agent can do."""
    known = available(room.session.methods)
    return {
        "operations": [
            {"name": name, "summary": OPERATIONS[name].summary, "takes": dict(OPERATIONS[name].takes)}
            for name in sorted(known)
        ]
    }


OPERATIONS: Mapping[str, Operation] = {
    "operations": Operation(operations),
    "compact": Operation(turns.compact, ("thread/compact/start",), {"wait": "false: answer once it has begun"}),
    "review": Operation(
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
    "shell": Operation(
        turns.shell, ("thread/shellCommand",), {"command": "the command line", "timeoutMs": "end it after that"}
    ),
    "revert": Operation(
        turns.revert, ("thread/revert",), {"turns": "how many (1)", "before": "the oldest turn to take back, by its id"}
    ),
    "turns": Operation(turns.turns, ("thread/turns/list",), {"limit": "how many (5)", "turnId": "only this one"}),
    "clear": Operation(sessions.clear, ("thread/start",), {"archive": "true: archive the old session"}),
    "fork": Operation(
        sessions.fork,
        ("thread/fork",),
        {
            "switch": "true: the agent goes on in the copy",
            "last": "the last turn that is copied, by its id",
            "before": "the first turn that is not copied, by its id",
            "name": "the copy's name",
        },
    ),
    "resume": Operation(sessions.resume, ("thread/resume",), {"sessionId": "the session to go on with"}),
    "archive": Operation(sessions.archive, ("thread/archive",), {"sessionId": "the session to put away"}),
    "sessions": Operation(
        sessions.sessions, ("thread/list",), {"limit": "how many (10)", "archived": "true: those that are archived"}
    ),
    "inject": Operation(
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
    "settings": Operation(
        context.settings,
        (),
        {
            "model": "the model",
            "effort": "its reasoning effort",
            "cwd": "the folder",
            "approvalMode": "ask, accept-edits, auto, read-only or bypass",
            "approvalPolicy": "untrusted, on-request or never",
            "sandbox": "read-only, workspace-write or danger-full-access",
        },
    ),
    "outputSchema": Operation(context.output_schema, (), {"schema": "a JSON schema; none takes it back"}),
    "goal": Operation(context.goal, ("thread/goal/get",)),
    "goalSet": Operation(
        context.goal_set,
        ("thread/goal/set",),
        {
            "objective": "what is to be reached",
            "status": "active (default), paused, blocked or complete",
            "tokenBudget": "how many tokens it may cost",
        },
    ),
    "goalClear": Operation(context.goal_clear, ("thread/goal/clear",)),
    "skills": Operation(reading.skills, ("skills/list",), {"reload": "true: look at the files again"}),
    "mcp": Operation(reading.mcp, ("mcpServerStatus/list",)),
    "mcpReload": Operation(reading.mcp_reload, ("config/mcpServer/reload",)),
    "models": Operation(reading.models, ("model/list",), {"hidden": "true: also those that are not offered"}),
    "usage": Operation(reading.usage),
    "limits": Operation(reading.limits),
    "terminals": Operation(reading.terminals, ("thread/backgroundTerminals/list",)),
    "terminalsClean": Operation(
        reading.terminals_clean, ("thread/backgroundTerminals/clean",), {"id": "only this one"}
    ),
}


def available(methods: frozenset[str]) -> frozenset[str]:
    """Return the operations for which the server has what they need; all, where it did not tell its methods."""
    return frozenset(
        name for name, operation in OPERATIONS.items() if not methods or methods.issuperset(operation.methods)
    )


async def run(room: Room, action: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Do one operation; unsupported where there is no such thing, or not in this version."""
    operation = OPERATIONS.get(action)
    if operation is None:
        raise ProviderUnsupported(f"codex has no operation {action!r}", hint="the operation `operations` lists them")
    methods = room.session.methods
    if missing := [method for method in operation.methods if methods and method not in methods]:
        raise ProviderUnsupported(f"this version of Codex cannot {action}: it has no {', '.join(missing)}")
    given = Args(args)
    given.check(operation.takes)
    return await operation.run(room, given)
