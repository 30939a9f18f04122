"""Operations that only tell: skills, mcp, models, usage, limits, terminals; and two that tidy."""

from __future__ import annotations

from typing import Any

from relay_runner.errors import ProviderRefused, ProviderUnsupported
from relay_runner.protocol.envelope import sanitise_line
from relay_runner.providers.codex.operations.args import Args
from relay_runner.providers.codex.operations.room import REFUSED, Room

PAGES = 20
LINE = 300


async def skills(room: Room, args: Args) -> dict[str, Any]:
    """List the skills that the agent has in its folder, or would have in others."""
    found, errors = [], []
    for place in await places(room, "skills/list", args, forceReload=args.flag("reload")):
        errors += [line(error) for error in place.get("errors") or ()]
        found += [
            {
                "name": one.get("name"),
                "description": line(one.get("shortDescription") or one.get("description")),
                "scope": one.get("scope"),
                "enabled": one.get("enabled"),
                "path": one.get("path"),
            }
            for one in place.get("skills") or ()
        ]
    return {"skills": found, "errors": errors}


async def mcp(room: Room, args: Args) -> dict[str, Any]:
    """List the MCP servers with their state and their tools."""
    listed = await every(room, "mcpServerStatus/list", {"threadId": room.session.thread_id})
    return {
        "servers": [
            {
                "name": one.get("name"),
                "status": _status(one.get("runtimeStatus")),
                "auth": _status(one.get("authStatus")),
                "tools": sorted(one.get("tools") or ()),
                "error": one.get("toolsError"),
            }
            for one in listed
        ]
    }


async def mcp_reload(room: Room, args: Args) -> dict[str, Any]:
    """Read the settings of the MCP servers again, and start what changed."""
    await room.call("config/mcpServer/reload")
    return {"reloaded": True}


async def models(room: Room, args: Args) -> dict[str, Any]:
    """List the models that there are."""
    listed = await every(room, "model/list", {"includeHidden": args.flag("hidden")})
    return {
        "models": [
            {
                "model": one.get("model"),
                "name": one.get("displayName"),
                "description": line(one.get("description")),
                "default": bool(one.get("isDefault")),
                "current": one.get("model") == room.session.model,
                "effort": one.get("defaultReasoningEffort"),
                "efforts": [level.get("reasoningEffort") for level in one.get("supportedReasoningEfforts") or ()],
                "upgrade": one.get("upgrade"),
            }
            for one in listed
        ]
    }


async def usage(room: Room, args: Args) -> dict[str, Any]:
    """Tell the tokens of this session, and of the account where one is logged in."""
    told, reason = await _if_told(room, "account/usage/read", {"threadId": room.session.thread_id})
    return {"session": room.usage, "account": told, "reason": reason}


async def limits(room: Room, args: Args) -> dict[str, Any]:
    """Tell the rate limits: what the account says, else what the last answer of the model said."""
    told, reason = await _if_told(room, "account/rateLimits/read", None)
    found = told.get("rateLimits") if told is not None else room.limits
    return {"limits": found, "source": "account" if told is not None else "turn" if found else None, "reason": reason}


async def terminals(room: Room, args: Args) -> dict[str, Any]:
    """List the commands that run in the background."""
    listed = await every(room, "thread/backgroundTerminals/list", {"threadId": room.session.thread_id})
    return {
        "terminals": [
            {"id": one.get("processId"), "command": one.get("command"), "cwd": one.get("cwd"), "pid": one.get("osPid")}
            for one in listed
        ]
    }


async def terminals_clean(room: Room, args: Args) -> dict[str, Any]:
    """End the commands that run in the background, or one of them."""
    if (id := args.text("id")) is not None:
        await room.of_thread("thread/backgroundTerminals/terminate", processId=id)
        return {"ended": [id]}
    before = (await terminals(room, args))["terminals"]
    await room.of_thread("thread/backgroundTerminals/clean")
    return {"ended": [one["id"] for one in before]}


async def places(room: Room, method: str, args: Args, **params: Any) -> list[dict[str, Any]]:
    """Ask about the agent's folder, or about the `folders` that were named; return what is told, folder by folder."""
    folders = args.texts("folders") or [str(room.spec.cwd)]
    for folder in folders:
        if not folder.startswith("/"):
            raise ProviderRefused(f"{folder} is not an absolute path")
    told = (await room.call(method, {"cwds": folders, **params})).get("data") or []
    return [place for place in told if isinstance(place, dict)]


async def every(room: Room, method: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all pages of a list."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(PAGES):
        answer = await room.call(method, {**params, "cursor": cursor})
        found += [one for one in answer.get("data") or () if isinstance(one, dict)]
        if (cursor := answer.get("nextCursor")) is None:
            break
    return found


async def _if_told(room: Room, method: str, params: dict[str, Any] | None) -> tuple[dict[str, Any] | None, str | None]:
    """Ask about the account; why it does not tell (nobody is logged in, say) is an answer too."""
    try:
        return await room.call(method, params), None
    except (ProviderRefused, ProviderUnsupported) as error:
        return None, error.message.removeprefix(REFUSED)


def _status(value: Any) -> str | None:
    """Return a state as one word, whether the program tells it as a word or as an object with a type."""
    if isinstance(value, dict):
        value = value.get("type") or value.get("status")
    return None if value is None else str(value)


def line(value: Any) -> str:
    """Return what is said in one line."""
    return sanitise_line(str(value.get("message", value) if isinstance(value, dict) else value or ""), LINE)
