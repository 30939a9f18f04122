"""The routes as curl sees them: queries, bodies that may be left out, and streams."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.contract.relays import WAIT_S, hello
from tests.unit.server.raw import raw, token_of

pytestmark = pytest.mark.anyio


async def test_a_query_is_read_from_the_url(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        for number in range(3):
            await client.post("/api/v1/messages", json={"to": "person:ann", "body": f"no {number}"})
        listed = await client.get("/api/v1/messages?recipient=person:ann&states=queued,claimed&oldestFirst&limit=2")
        assert [entry["message"]["body"] for entry in listed.json()] == ["no 0", "no 1"]
        later = await client.get("/api/v1/messages?recipient=person:ann&after=2&unread=true")
        assert [entry["message"]["id"] for entry in later.json()] == [3]
        for query, word in (("states=lost", "lost"), ("limit=many", "limit"), ("after=x", "after")):
            answer = await client.get(f"/api/v1/messages?{query}")
            assert answer.status_code == 422 and "bad query" in answer.text and word in answer.text


async def test_redelivery_needs_no_body(tmp_path: Path) -> None:
    async with raw(tmp_path) as (core, client):
        await core.store.join(hello("bob"), "bus")
        sent = (await client.post("/api/v1/messages", json={"to": "bob", "body": "x"})).json()["message"]["id"]
        receipt = {"agentId": "bob", "instanceId": "one", "attempt": 1, "state": "dead", "reason": "told so"}
        assert (await client.post(f"/api/v1/messages/{sent}/receipt", json=receipt)).status_code == 200
        again = await client.post(f"/api/v1/messages/{sent}/redeliver")
        assert again.json()["deliveries"][0]["attempt"] == 2
        assert (await client.post(f"/api/v1/messages/{sent}/redeliver")).status_code == 409


async def test_ready_is_part_of_the_status(tmp_path: Path) -> None:
    async with raw(tmp_path) as (core, client):
        await core.store.join(hello("bob"), "bus")
        answer = await client.put("/api/v1/agents/bob/ready", json={"instanceId": "one", "ready": False})
        assert answer.status_code == 204 and answer.content == b""
        status = (await client.get("/api/v1/agents/bob")).json()["status"]
        assert not status.get("ready", False) and status["agentStatus"] == "idle"
        stale = await client.put("/api/v1/agents/bob/ready", json={"instanceId": "two", "ready": True})
        assert stale.status_code == 409 and stale.json()["error"]["code"] == "claim-lost"


async def test_commands_can_be_listed_by_their_agent_and_by_operators(tmp_path: Path) -> None:
    async with raw(tmp_path) as (core, client):
        await core.store.join(hello("bob"), "bus")
        await client.post("/api/v1/commands", json={"type": "agent.restart", "target": "bob"})
        for query, count in (("agentId=bob", 1), ("agentId=bob&pending=true", 1), ("agentId=ann", 0)):
            assert len((await client.get(f"/api/v1/commands?{query}")).json()) == count
        client.headers["Authorization"] = f"Bearer {await token_of(core, 'agent:bob', 'agent:bob')}"
        assert len((await client.get("/api/v1/commands?agentId=bob")).json()) == 1
        assert (await client.get("/api/v1/commands?agentId=ann")).status_code == 403


async def test_events_begin_after_the_last_one_seen(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        for _ in range(2):
            await client.post("/api/v1/messages", json={"to": "person:ann", "body": "x"})
        for headers, query in (({"Last-Event-ID": "2"}, ""), ({}, "?after=2"), ({"Last-Event-ID": "2"}, "?after=0")):
            async with (
                asyncio.timeout(WAIT_S),
                client.stream("GET", f"/api/v1/events{query}", headers=headers) as answer,
            ):
                lines = answer.aiter_lines()
                ids = [line async for line in _until(lines, 2)]
                assert ids == ["id: 3", "id: 4"]
        assert (await client.get("/api/v1/events?after=soon")).status_code == 422


async def _until(lines, count):  # type: ignore[no-untyped-def]
    async for line in lines:
        if line.startswith("id:"):
            yield line
            count -= 1
            if not count:
                return
