"""Operations on sessions: clear, fork, resume, archive, sessions. Only what is idle is left."""

from __future__ import annotations

import contextlib
from typing import Any

from relay_runner.errors import ProviderError, ProviderRefused
from relay_runner.protocol.envelope import sanitise_line
from relay_runner.providers.codex import session
from relay_runner.providers.codex.operations.args import Args
from relay_runner.providers.codex.operations.context import apply
from relay_runner.providers.codex.operations.room import Room
from relay_runner.providers.codex.session import Session
from relay_runner.providers.codex.settings import of_mode

FIRST, MOST = 10, 100


async def clear(room: Room, args: Args) -> dict[str, Any]:
    """Begin a new, empty session; the old one is kept, or archived."""
    archive_it = args.flag("archive")
    async with room.alone("beginning a new session"):
        old = room.session.thread_id
        new = await session.another(room.client, room.spec, room.session, None)
        await _move(room, old, new)
    if archive_it:
        await room.call("thread/archive", {"threadId": old})
    return {"sessionId": new.thread_id, "formerSessionId": old, "archived": archive_it}


async def fork(room: Room, args: Args) -> dict[str, Any]:
    """Copy the session as it is, or as it was; the agent goes on in the old one unless it is to switch."""
    switch = args.flag("switch")
    params = {"threadId": room.session.thread_id, "excludeTurns": True, **room.session.settings}
    for name, param in (("before", "beforeTurnId"), ("last", "lastTurnId")):
        if (turn_id := args.text(name)) is not None:
            params[param] = turn_id
    if not switch:
        answer = await room.call("thread/fork", params)
        new = str(answer["thread"]["id"])
        await _name(room, new, args.text("name") or f"{room.spec.agent_id} (fork)")
        await _leave(room, new)
        return {"sessionId": new, "forkedFromId": room.session.thread_id, "switched": False}
    async with room.alone("forking"):
        old = room.session.thread_id
        answer = await room.call("thread/fork", params)
        new = str(answer["thread"]["id"])
        await _name(room, new, args.text("name") or room.spec.label or room.spec.agent_id)
        await _move(room, old, await session.another(room.client, room.spec, room.session, new))
    return {"sessionId": new, "forkedFromId": old, "switched": True}


async def resume(room: Room, args: Args) -> dict[str, Any]:
    """Go on with another session of this Codex."""
    wanted = args.need("sessionId")
    async with room.alone("changing its session"):
        old = room.session.thread_id
        if wanted == old:
            return {"sessionId": old, "formerSessionId": old}
        new = await session.another(room.client, room.spec, room.session, wanted)
        await _move(room, old, new)
        if new.approval_mode not in (None, room.spec.approval_mode):  # it is loaded already, with settings of its own
            await apply(room, of_mode(room.spec.approval_mode))
    return {"sessionId": wanted, "formerSessionId": old}


async def archive(room: Room, args: Args) -> dict[str, Any]:
    """Put a session away; the agent's own only by `clear` with `archive`, which begins a new one."""
    wanted = args.need("sessionId")
    if wanted == room.session.thread_id:
        raise ProviderRefused("the agent is using that session", hint="use clear with archive=true")
    await room.call("thread/archive", {"threadId": wanted})
    return {"sessionId": wanted, "archived": True}


async def rename(room: Room, args: Args) -> dict[str, Any]:
    """Give a session another name; without one named, the agent's own."""
    wanted, name = args.text("sessionId") or room.session.thread_id, args.need("name")
    await _name(room, wanted, sanitise_line(name))
    return {"sessionId": wanted, "name": sanitise_line(name)}


async def delete(room: Room, args: Args) -> dict[str, Any]:
    """Delete a session for good, with all that was said in it; never the agent's own."""
    wanted = args.need("sessionId")
    if wanted == room.session.thread_id:
        raise ProviderRefused("the agent is using that session", hint="run clear first, then delete the old session")
    await room.call("thread/delete", {"threadId": wanted})
    return {"sessionId": wanted, "deleted": True}


async def sessions(room: Room, args: Args) -> dict[str, Any]:
    """List the sessions of the agent's folder, newest first."""
    limit = min(args.number("limit", FIRST) or FIRST, MOST)
    params = {"cwd": str(room.spec.cwd), "limit": limit, "archived": args.flag("archived")}
    listed = (await room.call("thread/list", params)).get("data") or []
    here = room.session.thread_id
    return {
        "sessions": [
            {
                "sessionId": thread["id"],
                "name": thread.get("name"),
                "preview": str(thread.get("preview") or "")[:200],
                "updatedAt": thread.get("updatedAt"),
                "current": thread["id"] == here,
            }
            for thread in listed
        ]
    }


async def _move(room: Room, old: str, new: Session) -> None:
    """Go on in another thread, and let the server put the old one away when nobody looks at it."""
    room.enter(new)
    await _leave(room, old)


async def _leave(room: Room, thread_id: str) -> None:
    with contextlib.suppress(ProviderError):  # it stays loaded for longer then, that is all
        await room.call("thread/unsubscribe", {"threadId": thread_id})


async def _name(room: Room, thread_id: str, name: str) -> None:
    await room.call("thread/name/set", {"threadId": thread_id, "name": name})
