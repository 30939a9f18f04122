"""The routes of permissions, as they are documented and as they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.server.openapi import document
from relay_runner.server.permission_routes import PERMISSION_ROUTES
from relay_runner.server.routes import ROUTES
from tests.contract.relays import hello
from tests.unit.server.raw import raw, token_of

pytestmark = pytest.mark.anyio


def test_every_route_is_served_and_documented() -> None:
    paths = document(ROUTES)["paths"]
    assert {(route.method, route.path) for route in PERMISSION_ROUTES} == {
        ("POST", "/api/v1/permissions"),
        ("GET", "/api/v1/permissions"),
        ("GET", "/api/v1/permissions/{id}"),
        ("PATCH", "/api/v1/permissions/{id}"),
        ("POST", "/api/v1/permissions/{id}/decision"),
    }
    for route in PERMISSION_ROUTES:
        assert paths[route.path][route.method.lower()]["summary"] == route.summary


async def test_curl_can_answer_and_is_refused_with_a_line(tmp_path: Path) -> None:
    async with raw(tmp_path) as (core, client):
        await core.store.join(hello("bob"), "bus")
        new = {"id": "p1", "agentId": "bob", "instanceId": "one", "kind": "command", "title": "mkdir x"}
        assert (await client.post("/api/v1/permissions", json=new)).status_code == 201
        listed = (await client.get("/api/v1/permissions?agentId=bob&open=true&limit=5")).json()
        assert [(one["id"], one["state"], one["decisions"]) for one in listed] == [("p1", "open", ["approve", "deny"])]
        for body, status, word in (
            ({"decision": "perhaps"}, 422, "perhaps"),
            ({"decision": "abort"}, 422, "approve, deny"),
            ({"decision": "approve"}, 200, "person:op"),
            ({"decision": "deny"}, 409, "already answered with approve by person:op"),
        ):
            answer = await client.post("/api/v1/permissions/p1/decision", json=body)
            assert answer.status_code == status and word in answer.text
        assert (await client.get("/api/v1/permissions?limit=x")).status_code == 422
        client.headers["Authorization"] = f"Bearer {await token_of(core, 'agent:bob', 'agent:bob')}"
        assert (await client.post("/api/v1/permissions/p1/decision", json={"decision": "approve"})).status_code == 403
        assert (await client.get("/api/v1/permissions?agentId=bob")).status_code == 200
        assert (await client.get("/api/v1/permissions")).status_code == 403


@pytest.mark.parametrize("path", ["permissions", "commands", "commands?pending=true"])
async def test_whoever_may_only_send_is_told_what_a_list_of_everybody_takes(tmp_path: Path, path: str) -> None:
    async with raw(tmp_path) as (core, client):
        headers = {"Authorization": f"Bearer {await token_of(core, 'person:ann', 'send')}"}
        answer = await client.get(f"/api/v1/{path}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["message"]) == (403, "this token lacks the scope operator")
