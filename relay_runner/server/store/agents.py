"""Agents: who they are, which instance speaks for them, and whether they live."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from relay_runner.errors import ClaimLost
from relay_runner.protocol import acceptance
from relay_runner.protocol.agents import OFFLINE_AFTER_S, TIMELINE_KEPT, Status
from relay_runner.protocol.frames import Hello
from relay_runner.server.store import views
from relay_runner.server.store.rows import status_of, to_json
from relay_runner.server.store.writer import Transaction

BUS_GRACE_S = 3.0
"""How long an agent whose bus closed may take to come back before others see it offline."""
TOUCH_S = 5.0
"""How old `last_seen_at` may be before a claim or a receipt counts as a sign of life."""


def register(tx: Transaction, hello: Hello, bus_id: str) -> str | None:
    """Make `hello`'s instance the agent's current one; return its predecessor.

    Raise `ClaimLost` for an instance that another one superseded: it must not take the agent back.
    """
    row = tx.one("agent_instance", (hello.agent_id,))
    current = None if row is None else row[0]
    newer = current is not None and current != hello.instance_id
    if newer and tx.one("seen_instance", (hello.agent_id, hello.instance_id)) is not None:
        raise ClaimLost(f"instance {hello.instance_id} of {hello.agent_id} was superseded by {current}")
    tx.run("put_instance", (hello.agent_id, hello.instance_id, tx.now))
    values: dict[str, object] = {
        "id": hello.agent_id,
        "provider": hello.provider,
        "label": hello.label,
        "tags": to_json(hello.tags),
        "capabilities": to_json(hello.capabilities),
        "broad": hello.broad,
        "machine": hello.machine,
        "instance_id": hello.instance_id,
        "runner_id": hello.runner_id,
        "status": to_json(replace(hello.status, timeline=())),
        "meta": to_json(hello.meta),
        "bus_id": bus_id,
        "now": tx.now,
    }
    tx.run("put_agent", values)
    _tell(tx, hello.agent_id, action="joined", bus=bus_id)
    _keep_timeline(tx, hello.agent_id, hello.status)
    return current if newer else None


def leave(tx: Transaction, agent_id: str, bus_id: str) -> None:
    """Note that a bus closed; one of an earlier connection changes nothing."""
    if tx.run("close_bus", (tx.now, agent_id, bus_id)).rowcount:
        _tell(tx, agent_id, action="left")


def current_instance(tx: Transaction, agent_id: str, instance_id: str) -> None:
    """Raise unless this instance speaks for the agent now; what it asks is a sign of life."""
    row = tx.one("agent_instance", (agent_id,))
    if row is None:
        raise acceptance.unknown_agent(agent_id, [row[0] for row in tx.run("agent_ids")])
    current, last_seen_at, online = row
    if current != instance_id:
        raise ClaimLost(f"a newer instance of agent {agent_id} took over")
    if tx.now - last_seen_at > TOUCH_S or not online:
        _touch(tx, agent_id, bool(online))


def heartbeat(tx: Transaction, agent_id: str, instance_id: str, meta: dict[str, Any] | None) -> None:
    """Note that an agent lives."""
    current_instance(tx, agent_id, instance_id)
    _touch(tx, agent_id, online=True)
    if meta:
        tx.run("put_agent_meta", (to_json(meta), agent_id))


def put_status(tx: Transaction, agent_id: str, instance_id: str, status: Status) -> None:
    """Note an agent's status."""
    current_instance(tx, agent_id, instance_id)
    tx.run("put_status", (to_json(replace(status, timeline=())), tx.now, agent_id))
    _tell(tx, agent_id)
    _keep_timeline(tx, agent_id, status)


def put_ready(tx: Transaction, agent_id: str, instance_id: str, ready: bool) -> None:
    """Note whether an agent is ready."""
    current_instance(tx, agent_id, instance_id)
    row = tx.one("agent", (agent_id,))
    if row is not None:
        put_status(tx, agent_id, instance_id, replace(status_of(row[9]), ready=ready))


def remove(tx: Transaction, agent_id: str) -> None:
    """Retire an agent; its queue stays until it expires."""
    agent = views.known_agent(tx, agent_id)
    tx.run("remove_agent", (tx.now, agent.id))
    tx.emit("agent", {"id": agent.id, "action": "removed", "status": "offline", "connected": False})


def sweep(tx: Transaction) -> None:
    """Take the agents offline that were not heard of, and those whose bus stayed closed."""
    times = {"silent_since": tx.now - OFFLINE_AFTER_S, "closed_since": tx.now - BUS_GRACE_S}
    for (agent_id,) in tx.run("agents_silent", times).fetchall():
        tx.run("agent_offline", (agent_id,))
        _tell(tx, agent_id, action="offline")


def _keep_timeline(tx: Transaction, agent_id: str, status: Status) -> None:
    """Keep and pass on what a status tells of the agent's timeline and was not told before."""
    new = False
    for event in status.timeline:
        if tx.run("put_timeline", (agent_id, event.id, event.kind, event.at, to_json(event.data))).rowcount:
            new = True
            data = {**event.data, "agentId": agent_id, "id": event.id, "kind": event.kind, "happenedAt": event.at}
            tx.emit("timeline", data)
    if new:
        tx.run("forget_timeline", {"agent_id": agent_id, "kept": TIMELINE_KEPT})


def _touch(tx: Transaction, agent_id: str, online: bool) -> None:
    tx.run("touch_agent", (tx.now, agent_id))
    if not online:
        _tell(tx, agent_id, action="online")


def _tell(tx: Transaction, agent_id: str, *, action: str = "status", bus: str | None = None) -> None:
    agent = views.known_agent(tx, agent_id)
    data: dict[str, Any] = {
        "id": agent_id,
        "action": action,
        "status": agent.status.agent_status.value,
        "connected": agent.connected,
        "instanceId": agent.instance_id,
    }
    if bus is not None:
        data["bus"] = bus
    tx.emit("agent", data)
