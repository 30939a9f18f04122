"""The routes of tasks, as they are documented and as they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.server.openapi import document
from relay_runner.server.routes import ROUTES
from relay_runner.server.task_routes import TASK_ROUTES
from tests.unit.server.raw import raw, token_of

pytestmark = pytest.mark.anyio


def test_every_route_is_served_and_documented() -> None:
    paths = document(ROUTES)["paths"]
    assert {(route.method, route.path) for route in TASK_ROUTES} == {
        ("POST", "/api/v1/tasks"),
        ("GET", "/api/v1/tasks"),
        ("GET", "/api/v1/tasks/{id}"),
        ("PATCH", "/api/v1/tasks/{id}"),
    }
    for route in TASK_ROUTES:
        assert paths[route.path][route.method.lower()]["summary"] == route.summary


async def test_curl_can_open_list_and_move_them(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        made = await client.post("/api/v1/tasks", json={"subject": "paint"})
        assert (made.status_code, made.json()["state"], made.json()["createdBy"]) == (201, "open", "person:op")
        moved = await client.patch("/api/v1/tasks/1", json={"state": "failed", "metadata": {"why": "rain"}})
        assert moved.json()["metadata"] == {"why": "rain"}
        for query, ids in (
            ("", [1]),
            ("?states=failed,done", [1]),
            ("?states=open&limit=5", []),
            ("?createdBy=person:op&before=2", [1]),
            ("?agentId=bob", []),
        ):
            assert [one["id"] for one in (await client.get(f"/api/v1/tasks{query}")).json()] == ids
        for query in ("?states=finished", "?limit=many", "?before=x"):
            assert (await client.get(f"/api/v1/tasks{query}")).status_code == 422
        assert (await client.get("/api/v1/tasks/2")).status_code == 404
        assert (await client.patch("/api/v1/tasks/1", json={"state": "finished"})).status_code in (400, 422)


async def test_a_token_without_send_opens_none(tmp_path: Path) -> None:
    async with raw(tmp_path) as (core, client):
        headers = {"Authorization": f"Bearer {await token_of(core, 'agent:bob', 'agent:bob')}"}
        refused = await client.post("/api/v1/tasks", json={"subject": "paint"}, headers=headers)
        assert refused.status_code == 403
