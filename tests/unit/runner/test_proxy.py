import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay_runner.protocol.messages import NewMessage
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.control import ControlServer
from relay_runner.runner.journal import Journal
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


class Inside:
    """An agent's tools on one side of its control server, the relay on the other."""

    def __init__(self, operator: MemoryRelay, client: httpx.AsyncClient) -> None:
        self.operator = operator
        self.client = client

    async def get(self, path: str, **query: str) -> Any:
        answer = await self.client.get(f"/api/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    operator = MemoryRelay()
    with Journal(tmp_path / "a.db") as one, Journal(tmp_path / "b.db") as two:
        async with Desk(one, operator, "bob").running(None), Desk(two, operator, "eve", instance_id="e").running(None):
            control = ControlServer(
                MemoryRelay.of_agent("bob", operator.hub), tmp_path / "control.json", status=lambda: b"{}"
            )
            control.bind(None)
            endpoint = control.new_process()
            headers = {"Authorization": f"Bearer {endpoint.secret}"}
            client = httpx.AsyncClient(base_url=endpoint.url, headers=headers, timeout=20)
            async with control.running(), client:
                yield Inside(operator, client)


async def test_what_the_agent_sends_is_the_agents_own(inside: Inside) -> None:
    answer = await inside.client.post(
        "/api/v1/messages", json={"to": "eve", "body": "hi", "operator": True, "from": "person:x"}
    )
    assert answer.status_code == 201
    message = (await inside.operator.message(answer.json()["message"]["id"])).message
    assert (message.sender, message.operator, message.body) == ("agent:bob", False, "hi")


async def test_it_reads_replies_and_reacts_to_what_came(inside: Inside) -> None:
    id = (await inside.operator.send(NewMessage(to="bob", body="how are you"))).message.id
    assert (await inside.get(f"/messages/{id}"))["message"]["body"] == "how are you"
    assert [row["message"]["id"] for row in await inside.get("/messages", recipient="agent:bob", unread="true")] == [id]
    assert (await inside.client.post(f"/api/v1/messages/{id}/read")).status_code == 204
    assert await inside.get("/messages", recipient="agent:bob", unread="true") == []
    assert [row["message"]["id"] for row in await inside.get("/messages", recipient="agent:bob", open="true")] == [id]
    assert (await inside.client.post(f"/api/v1/messages/{id}/reply", json={"body": "fine"})).status_code == 201
    assert (await inside.client.post(f"/api/v1/messages/{id}/reactions", json={"emoji": "👍"})).status_code == 204
    record = await inside.operator.message(id)
    assert len(record.replies) == 1 and record.reactions[0].emoji == "👍"


async def test_it_sees_who_is_there(inside: Inside) -> None:
    assert [agent["id"] for agent in await inside.get("/agents")] == ["bob", "eve"]
    assert (await inside.get("/agents/eve"))["connected"] is True


async def test_it_sees_what_it_owes_and_not_what_others_do(inside: Inside) -> None:
    assert await inside.get("/agents/bob/obligations") == []
    assert (await inside.client.get("/api/v1/agents/eve/obligations")).status_code == 403


async def test_it_opens_tasks_gives_them_to_others_and_sees_what_became_of_them(inside: Inside) -> None:
    made = (await inside.client.post("/api/v1/tasks", json={"subject": "paint"})).json()
    assert made["createdBy"] == "agent:bob"
    letter = {"to": "eve", "body": "please", "payload": {"taskId": made["id"]}}
    assert (await inside.client.post("/api/v1/messages", json=letter)).status_code == 201
    assert (await inside.get(f"/tasks/{made['id']}"))["state"] == "open"
    assert [one["id"] for one in await inside.get("/tasks", states="open", limit="5")] == [made["id"]]
    assert await inside.get("/tasks", createdBy="person:op", agentId="eve", before="9") == []
    assert (await inside.client.get("/api/v1/tasks", params={"limit": "many"})).status_code == 400


async def test_it_cannot_read_what_is_not_for_it(inside: Inside) -> None:
    id = (await inside.operator.send(NewMessage(to="eve", body="secret"))).message.id
    assert (await inside.client.get(f"/api/v1/messages/{id}")).status_code in (403, 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/commands"),
        ("POST", "/tokens"),
        ("POST", "/tokens/renew"),
        ("DELETE", "/agents/eve"),
        ("POST", "/messages/1/receipt"),
        ("POST", "/messages/1/claim"),
        ("POST", "/messages/1/redeliver"),
        ("PUT", "/agents/bob/status"),
        ("PATCH", "/tasks/1"),
        ("GET", "/events"),
    ],
)
async def test_an_agent_cannot_order_approve_or_report_by_itself(inside: Inside, method: str, path: str) -> None:
    assert (await inside.client.request(method, f"/api/v1{path}", json={})).status_code in (404, 405)


@pytest.mark.parametrize(
    ("body", "status"),
    [({"to": "nobody-here", "body": "hi"}, 404), ({"to": "eve", "body": "  "}, 422), ({"to": 7}, 400)],
)
async def test_what_the_relay_refuses_is_refused_in_its_words(
    inside: Inside, body: dict[str, Any], status: int
) -> None:
    answer = await inside.client.post("/api/v1/messages", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_a_number_that_is_none_is_refused_in_one_line(inside: Inside) -> None:
    answer = await inside.client.get("/api/v1/messages", params={"limit": "many"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "protocol")


async def test_files_pass_through_both_ways_as_the_agents_own(inside: Inside) -> None:
    content = bytes(range(256)) * 80_000  # larger than any other body may be
    answer = await inside.client.post(
        "/api/v1/attachments", params={"name": "../x.bin"}, content=content, headers={"Content-Type": "image/png"}
    )
    assert answer.status_code == 201 and answer.json()["name"] == "x.bin"
    found = await inside.client.get(f"/api/v1/attachments/{answer.json()['id']}")
    assert found.content == content and found.headers["content-type"] == "image/png"
    assert json.loads(found.headers["x-relay-attachment"]) == answer.json()
    assert (await inside.get("/attachments"))["maxBytes"] == 25 * 1024 * 1024
    assert (await inside.client.get("/api/v1/attachments/" + "0" * 32)).status_code == 404
    inside.operator.hub.files.limit = 10
    refused = await inside.client.post("/api/v1/attachments", params={"name": "x"}, content=b"x" * 11)
    assert refused.status_code == 413 and "larger" in refused.json()["error"]["message"]
