"""An MCP server on stdio whose one tool writes a file: `mcp_server.py NAME MARK` leaves MARK when it starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def answer(request: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the result of one request."""
    match request["method"]:
        case "initialize":
            return {
                "protocolVersion": request["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": name, "version": "1"},
            }
        case "tools/list":
            schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
            return {"tools": [{"name": "scribble", "description": f"tool of {name}", "inputSchema": schema}]}
        case "tools/call":
            Path(request["params"]["arguments"]["path"]).write_text("written")
            return {"content": [{"type": "text", "text": "done"}]}
    return {}


def main() -> None:
    """Answer until stdin ends."""
    name, mark = sys.argv[1:]
    Path(mark).touch()
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            sys.stdout.write(
                json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": answer(request, name)}) + "\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
