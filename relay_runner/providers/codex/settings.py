"""What a thread runs with, between our words and Codex's: approval modes, sandboxes, and what the program tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_runner.providers.codex import launch, sandbox

UPDATED = "thread/settings/updated"
POLICIES = ("untrusted", "on-request", "never")
READ_ONLY = "read-only"


def approval_mode(policy: Any, kind: Any, profile: Any, started: str) -> str | None:
    """Return our word for a policy and a sandbox, theirs where we have none, None where nothing is told.

    What was not `started` read-only has MCP servers that no sandbox is around: only their words fit it. A sandbox
    that hides nothing of the relay's is none of ours, and has only their words, too.
    """
    name = sandbox.told(kind, profile)
    if policy is None or name is None:
        return None
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
    return {"approvalPolicy": wanted.approval_policy, **sandbox.of_settings(wanted.sandbox)}


def told(settings: Mapping[str, Any], started: str) -> dict[str, Any]:
    """Return what others are told of the settings that the program has now."""
    return {
        "model": settings.get("model"),
        "effort": settings.get("effort"),
        "approvalMode": approval_mode(
            settings.get("approvalPolicy"),
            settings.get("sandboxPolicy"),
            settings.get("activePermissionProfile"),
            started,
        ),
        "cwd": settings.get("cwd"),
    }
