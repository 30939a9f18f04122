"""What an agent says that can be done with it, for programs that choose one: enforced, or not said."""

from __future__ import annotations

from typing import Any

from relay_runner.providers.base import Capabilities

READ_ONLY = "read-only"


def lifecycle(capabilities: Capabilities) -> dict[str, bool]:
    """Return which orders about its life the runner and its program carry out."""
    return {
        "shutdown": True,
        "kill": True,
        "restart": True,
        "reconnect": True,
        "retry": True,
        "interrupt": capabilities.interrupt,
        "resume": capabilities.resume,
    }


def abilities(capabilities: Capabilities, approval_mode: str, tells_context: bool) -> dict[str, Any]:
    """Return what the program and its session can do, as it was started."""
    return {
        "model": {"select": "start"},
        "delivery": {
            "evidence": capabilities.evidence,
            "results": capabilities.results,
            "steer": capabilities.steer,
        },
        "session": _rights(capabilities, approval_mode),
        "context": {
            "stats": tells_context,
            "compact": capabilities.compact,
            "clear": capabilities.clear,
            "inject": capabilities.inject,
        },
        "usage": {"tokens": capabilities.tokens, "cost": capabilities.cost},
        "terminal": {"attach": True, "viewer": capabilities.viewer},
        "permissions": capabilities.permissions,
        "subagents": capabilities.subagents,
    }


def _rights(capabilities: Capabilities, approval_mode: str) -> dict[str, str]:
    files, shell = capabilities.session_files, capabilities.session_shell
    if approval_mode != READ_ONLY:
        return {"files": "write" if files else "none", "shell": "full" if shell else "none"}
    return {
        "files": "read" if files else "none",
        "shell": "sandboxed" if shell and capabilities.read_only_shell else "none",
    }
