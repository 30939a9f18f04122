"""Operations by hand on what is connected to a Codex: its MCP servers, its hooks, what it may be allowed."""

from __future__ import annotations

from typing import Any

from relay_runner.errors import ProviderRefused
from relay_runner.providers.codex.operations.args import Args
from relay_runner.providers.codex.operations.reading import every, line, places
from relay_runner.providers.codex.operations.room import Room


async def mcp_call(room: Room, args: Args) -> dict[str, Any]:
    """Call a tool of an MCP server, without the model and without a question."""
    arguments = args.raw("arguments")
    if arguments is not None and not isinstance(arguments, dict):
        raise ProviderRefused("arguments must be an object")
    given = {"server": args.need("server"), "tool": args.need("tool"), "arguments": arguments or {}}
    answer = await room.of_thread("mcpServer/tool/call", **given)
    return {
        "content": answer.get("content") or [],
        "structuredContent": answer.get("structuredContent"),
        "isError": bool(answer.get("isError")),
    }


async def mcp_resource(room: Room, args: Args) -> dict[str, Any]:
    """Read a resource of an MCP server."""
    answer = await room.of_thread("mcpServer/resource/read", server=args.need("server"), uri=args.need("uri"))
    return {"contents": answer.get("contents") or []}


async def hooks(room: Room, args: Args) -> dict[str, Any]:
    """List the hooks that run in its folder, or in others, and whether they are trusted."""
    found, problems = [], []
    for place in await places(room, "hooks/list", args):
        problems += [line(one) for name in ("errors", "warnings") for one in place.get(name) or ()]
        found += [
            {
                "event": one.get("eventName"),
                "matcher": one.get("matcher"),
                "source": one.get("source"),
                "path": one.get("sourcePath"),
                "enabled": one.get("enabled"),
                "trust": one.get("trustStatus"),
            }
            for one in place.get("hooks") or ()
        ]
    return {"hooks": found, "errors": problems}


async def permission_profiles(room: Room, args: Args) -> dict[str, Any]:
    """List the permission profiles that there are, and which one its commands run in."""
    listed = await every(room, "permissionProfile/list", {"cwd": str(room.spec.cwd)})
    return {
        "profiles": [
            {"id": one.get("id"), "description": line(one.get("description")), "allowed": one.get("allowed")}
            for one in listed
        ],
        "current": room.session.profile,
    }
