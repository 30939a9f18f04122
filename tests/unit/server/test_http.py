"""Calls from strangers: every wrong one gets its status and one line of JSON, never a traceback."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay_runner.server.http import MAX_REQUEST_BYTES, race
from relay_runner.server.routes import ROUTES
from tests.contract.relays import WAIT_S
from tests.unit.server.raw import raw, token_of

pytestmark = pytest.mark.anyio

MESSAGES = "/api/v1/messages"


def problem(response: httpx.Response, status: int, word: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()["error"]
    assert set(found) <= {"code", "message", "hint"} and "\n" not in found["message"]
    assert "Traceback" not in response.text and ".py" not in response.text
    assert word in response.text
    return found


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "NewMessage"),
        (b"{", "NewMessage"),
        (b"[]", "NewMessage"),
        (b"\xff\xfe", "NewMessage"),
        (b'{"to":"person:ann"}', "body"),
        (b'{"to":5,"body":"x"}', "to"),
        (b'{"to":"person:ann","body":null}', "body"),
        (b'{"to":"person:ann","body":"x","timing":"soon"}', "timing"),
        (b'{"to":"person:ann","body":"x","ttlS":"long"}', "ttlS"),
        (b'{"to":"person:ann","body":"x","payload":[]}', "payload"),
        (b'{"to":"person:ann","body":""}', "empty"),
        (b'{"to":"person:ann","body":"\\ud800"}', "NewMessage"),
        (b'{"to":"' + b"[" * 100_000 + b'"}', ""),
        (b"[" * 100_000, ""),
        (b'{"to":"person:ann","body":"x","payload":{"a":' + b"[" * 31 + b"]" * 31 + b"}}", "deeper"),
        (b'{"to":"person:ann","body":"x","payload":{"a":1' + b"0" * 50 + b"}}", "digits"),
        (b'{"to":"person:ann","body":"x","payload":{"a":[' + b"1," * 100_000 + b"1]}}", "values"),
    ],
)
async def test_a_bad_body_gets_one_line(tmp_path: Path, content: bytes, word: str) -> None:
    async with raw(tmp_path) as (_, client):
        problem(await client.post(MESSAGES, content=content), 422, word)


async def test_a_request_may_be_large_but_not_endless(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        body = json.dumps({"to": "person:ann", "body": "\x01" * (1024 * 1024)})
        assert len(body) > 6 * 1024 * 1024
        assert (await client.post(MESSAGES, content=body)).status_code == 201
        problem(await client.post(MESSAGES, content=b"x" * (MAX_REQUEST_BYTES + 1)), 413, "larger")
        assert (await client.get("/healthz")).json()["queued"] == 1


async def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        answer = await client.post(MESSAGES, json={"to": "person:ann", "body": "x", "from": "agent:eve", "new": 1})
        assert answer.status_code == 201 and answer.json()["message"]["from"] == "person:op"


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ("", "token is needed"),
        ("Basic abc", "token is needed"),
        ("Bearer", "token is needed"),
        ("Bearer x.y.z", "make"),
    ],
)
async def test_a_call_without_a_good_token_is_401(tmp_path: Path, header: str, word: str) -> None:
    async with raw(tmp_path) as (_, client):
        answer = await client.get(MESSAGES, headers={"Authorization": header})
        problem(answer, 401, word)
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_call_without_the_scope_is_403(tmp_path: Path) -> None:
    async with raw(tmp_path) as (core, client):
        token = await token_of(core, "agent:bob", "agent:bob")
        client.headers["Authorization"] = f"Bearer {token}"
        problem(await client.post(MESSAGES, json={"to": "person:ann", "body": "x"}), 403, "send")
        problem(await client.post("/api/v1/commands", json={"type": "agent.kill", "target": "x"}), 403, "operator")
        problem(await client.delete("/api/v1/tokens/x"), 403, "operator")
        problem(await client.put("/api/v1/agents/ann/ready", json={"instanceId": "i", "ready": True}), 403, "agent:ann")


@pytest.mark.parametrize("path", ["x", "0", "99", "-1", "9" * 30, "%00", "1.5"])
async def test_a_message_that_is_none_is_404(tmp_path: Path, path: str) -> None:
    async with raw(tmp_path) as (_, client):
        problem(await client.get(f"{MESSAGES}/{path}"), 404, "there is no")


async def test_an_error_inside_is_500_without_a_word_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw(tmp_path) as (core, client):

        async def broken() -> None:
            raise RuntimeError("secret detail")

        monkeypatch.setattr(core.store, "agents", broken)
        answer = await client.get("/api/v1/agents")
        assert problem(answer, 500, "the relay failed")["code"] == "internal"
        assert "secret" not in answer.text
        assert "secret detail" in caplog.text


async def test_a_race_ends_with_the_first_and_raises_what_it_raised() -> None:
    ended = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("slow")

    async def fails() -> None:
        raise ValueError("first")

    async def at_once() -> None:
        return None

    await race(at_once(), asyncio.Event().wait())  # the other one never began, and nobody complains of it
    await race(slow(), asyncio.sleep(0))
    with pytest.raises(ValueError, match="first"):
        await race(slow(), fails())
    assert ended == ["slow", "slow"]


async def test_a_body_that_comes_after_the_revocation_does_nothing(tmp_path: Path) -> None:
    async with raw(tmp_path) as (core, client):
        body = b'{"to":"person:ann","body":"x"}'
        token = await token_of(core, "person:eve", "send")
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        head = f"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
        async with asyncio.timeout(WAIT_S):
            assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")  # the token was taken
            await core.store.revoke_token((await core.tokens.caller(token)).jti)
            writer.write(body)
            assert b" 401 " in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        assert (await client.get("/api/v1/messages", params={"sender": "person:eve"})).json() == []


async def test_nothing_deep_comes_in_anywhere_and_every_list_still_answers(tmp_path: Path) -> None:
    deep = "[" * 975 + "]" * 975
    async with raw(tmp_path) as (_, client):
        body = (
            "{" + ",".join(f'"{key}":{{"a":{deep}}}' for key in ("payload", "metadata", "args", "status")) + "}"
        ).encode()
        for route in ROUTES:
            if route.takes is not None:
                answer = await client.request(route.method, route.path.replace("{id}", "1"), content=body)
                problem(answer, 422, "deeper")
        fine = '{"to":"person:ann","body":"x","payload":{"a":' + "[" * 30 + "]" * 30 + "}}"
        assert (await client.post(MESSAGES, content=fine)).status_code == 201
        for path in ("messages", "agents", "permissions", "tasks", "tokens", "commands?agentId=bob"):
            assert (await client.get(f"/api/v1/{path}")).status_code == 200, path


@pytest.mark.parametrize("query", ["after=" + "9" * 30, "replyTo=" + "9" * 30, "limit=-" + "9" * 30])
async def test_a_number_beyond_64_bits_is_no_failure_of_the_relay(tmp_path: Path, query: str) -> None:
    async with raw(tmp_path) as (_, client):
        assert (await client.get(f"{MESSAGES}?{query}")).status_code < 500
        assert (await client.get(f"/api/v1/tasks?{query.replace('after', 'before')}")).status_code < 500
