"""What a thread runs with, between our words and Codex's: approval modes, sandboxes, and what the program tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_runner.providers.codex import launch

UPDATED = "thread/settings/updated"
SANDBOXES: dict[str, dict[str, Any]] = {
    "read-only": {"type": "readOnly"},
    "workspace-write": {"type": "workspaceWrite", "networkAccess": True},
    "danger-full-access": {"type": "dangerFullAccess"},
}
"""What turns and settings are given where a thread's start takes one word."""
POLICIES = ("untrusted", "on-request", "never")
READ_ONLY = "read-only"
_BY_TYPE = {policy["type"]: name for name, policy in SANDBOXES.items()}


def approval_mode(policy: Any, sandbox: Any, started: str) -> str | None:
    """Return our word for a policy and a sandbox, theirs where we have none, None where nothing is told.

    What was not `started` read-only has MCP servers that no sandbox is around: only their words fit it.
    """
    kind = sandbox.get("type") if isinstance(sandbox, dict) else sandbox
    if policy is None or kind is None:
        return None
    name = _BY_TYPE.get(str(kind), str(kind))
    if not isinstance(policy, str):
        return f"granular, {name}"
    modes = {word: mode for word, mode in launch.MODES.items() if word != READ_ONLY or started == READ_ONLY}
    return next(
        (word for word, mode in modes.items() if (mode.approval_policy, mode.sandbox) == (policy, name)),
        f"{policy}, {name}",
    )


def of_mode(mode: str) -> dict[str, Any]:
    """Return what a thread's settings are given for one of our modes."""
    wanted = launch.MODES[mode]
    return {"approvalPolicy": wanted.approval_policy, "sandboxPolicy": SANDBOXES[wanted.sandbox]}


def told(settings: Mapping[str, Any], started: str) -> dict[str, Any]:
    """Return what others are told of the settings that the program has now."""
    return {
        "model": settings.get("model"),
        "effort": settings.get("effort"),
        "approvalMode": approval_mode(settings.get("approvalPolicy"), settings.get("sandboxPolicy"), started),
        "cwd": settings.get("cwd"),
    }
