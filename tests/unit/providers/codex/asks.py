"""What the real app-server asked (0.169.0), as it asked it."""

from __future__ import annotations

from typing import Any

from relay_runner.providers.codex import questions
from relay_runner.providers.codex.client import Request
from tests.unit.providers.codex.server import THREAD

AMENDMENT = {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": ["touch", "one"]}}
COMMAND: dict[str, Any] = {
    "kind": "command",
    "itemId": "call_1",
    "startedAtMs": 1795719849140,
    "command": "/bin/bash -lc 'touch one'",
    "cwd": "/project",
    "commandActions": [{"type": "unknown", "command": "touch one"}],
    "availableDecisions": ["accept", AMENDMENT, "cancel"],
}
TOOL: dict[str, Any] = {
    "serverName": "mail",
    "mode": "form",
    "_meta": {
        "codex_approval_kind": "mcp_tool_call",
        "persist": ["session", "always"],
        "tool_name": "post",
        "tool_description": "posts",
        "tool_params": {"text": "hi"},
    },
    "message": 'Allow the mail MCP server to run tool "post"?',
    "requestedSchema": {"type": "object", "properties": {}},
}
FORM: dict[str, Any] = {
    "serverName": "mail",
    "mode": "form",
    "_meta": None,
    "message": "Who are you?",
    "requestedSchema": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "title": "Your name"},
            "age": {"type": "integer"},
            "ok": {"type": "boolean"},
            "color": {"type": "string", "enum": ["red", "blue"], "enumNames": ["Red", "Blue"]},
            "many": {"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]}},
        },
        "required": ["name"],
    },
}
INPUT: dict[str, Any] = {
    "itemId": "call_7",
    "questions": [
        {
            "id": "color",
            "header": "Color",
            "question": "Which color?",
            "isOther": True,
            "isSecret": False,
            "options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}],
        }
    ],
    "isBlocking": False,
    "autoResolutionMs": None,
}
ACCESS: dict[str, Any] = {
    "itemId": "call_11",
    "cwd": "/project",
    "reason": "need it",
    "permissions": {"network": {"enabled": True}, "fileSystem": {"read": None, "write": ["/var/tmp"]}},
}


def request(method: str, params: dict[str, Any], id: int = 0, **more: Any) -> Request:
    """Return a request of the agent's own thread."""
    return Request(id, method, {"threadId": THREAD, "turnId": "t1", **params, **more})


def command(id: int = 0, **more: Any) -> Request:
    """Return the request to run a command."""
    return request(questions.COMMAND, COMMAND, id, **more)
