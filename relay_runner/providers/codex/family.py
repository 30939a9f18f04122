"""The threads of sub-agents on the server: found again after a reconnect, and looked at."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from relay_runner.providers.base import Event
from relay_runner.providers.codex import session
from relay_runner.providers.codex.client import Client, Refused
from relay_runner.providers.codex.subagents import SubAgent, SubAgents

STARTED = "thread/started"


async def join(client: Client, thread_id: str, agents: SubAgents) -> list[list[Event]]:
    """Subscribe to every sub-agent of a thread that the server has loaded; return what follows, in order.

    While connected, one is subscribed to by itself when it is spawned; a new connection is told nothing of it, and what
    it asks is told only to who subscribed.
    """
    loaded: list[str] = (await client.call("thread/loaded/list", {})).get("data") or []
    told = [agents.only(loaded)]
    threads = {id: await read(client, id) for id in loaded if id != thread_id}
    family, found = {thread_id}, True
    while found:
        found = False
        for id, thread in threads.items():
            if id not in family and parent(thread) in family:
                family.add(id)
                found = True
                told.append(agents.look(thread, id, time.time()))
                await _subscribe(client, id)
    return told


async def read(client: Client, thread_id: str) -> dict[str, Any] | None:
    """Return a thread as it is now, None where the server does not know it."""
    try:
        thread = (await client.call("thread/read", {"threadId": thread_id})).get("thread")
    except Refused:
        return None
    return thread if isinstance(thread, dict) else None


async def turn(client: Client, agent: SubAgent) -> str:
    """Return the turn that a sub-agent is in; before a connection knew of it, it is asked for."""
    if agent.turn_id is None:
        newest = await session.turns(client, agent.id, 1)
        agent.turn_id = str(newest[0]["id"]) if newest else None
    return agent.turn_id or ""


def born(thread: Mapping[str, Any], thread_id: str, agents: SubAgents, now: float) -> list[Event]:
    """Take in a thread that was started: it may be a sub-agent's."""
    above = parent(thread)
    if above != thread_id and (above is None or agents.label(above) is None):
        return []
    return agents.look(thread, str(thread.get("id")), now)


def parent(thread: Any) -> str | None:
    """Return the thread that spawned this one."""
    above = thread.get("parentThreadId") if isinstance(thread, dict) else None
    return str(above) if above else None


async def _subscribe(client: Client, thread_id: str) -> None:
    try:
        await client.call("thread/resume", {"threadId": thread_id, "excludeTurns": True})
    except Refused:
        return  # it ended meanwhile
