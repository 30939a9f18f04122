"""An MCP server on stdio with two tools: `post` says what it was given, `form` has a person fill in a form first.

Run as a program of its own; it knows nothing of this project.
"""

from __future__ import annotations

import json
import sys
from typing import Any

FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Your name"},
        "age": {"type": "integer"},
        "color": {"type": "string", "enum": ["red", "blue"]},
    },
    "required": ["name"],
}
TOOLS = [
    {
        "name": "post",
        "description": "Posts a text.",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
    {
        "name": "form",
        "description": "Asks who you are.",
        "inputSchema": {"type": "object", "properties": {}},
        "annotations": {"readOnlyHint": True},
    },
]


def main() -> None:
    """Answer line by line until stdin ends."""
    forms: dict[Any, Any] = {}
    for number, line in enumerate(sys.stdin, 1000):
        message = json.loads(line)
        id, method = message.get("id"), message.get("method")
        if method == "initialize":
            version = message["params"]["protocolVersion"]
            info = {"name": "fake", "version": "1"}
            say(id, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info})
        elif method == "tools/list":
            say(id, {"tools": TOOLS})
        elif method == "tools/call" and message["params"]["name"] == "form":
            forms[number] = id
            ask = {"message": "Who are you?", "requestedSchema": FORM}
            write({"id": number, "method": "elicitation/create", "params": ask})
        elif method == "tools/call":
            say(id, content(f"posted {message['params'].get('arguments', {}).get('text')}"))
        elif method is None and id in forms:
            say(forms.pop(id), content(f"form {json.dumps(message.get('result'), sort_keys=True)}"))
        elif id is not None:
            write({"id": id, "error": {"code": -32601, "message": "not here"}})


def content(text: str) -> dict[str, Any]:
    """Return the result of a tool."""
    return {"content": [{"type": "text", "text": text}]}


def say(id: Any, result: dict[str, Any]) -> None:
    """Answer a request."""
    write({"id": id, "result": result})


def write(message: dict[str, Any]) -> None:
    """Send one message."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
