"""Uploads and downloads as a stranger makes them, by bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.server.raw import raw, token_of

pytestmark = pytest.mark.anyio

WAIT_S = 30.0
ATTACHMENTS = "/api/v1/attachments"


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "relay-attachments").glob("*")) + sorted((folder / "relay-attachments").glob(".*"))


async def test_a_file_stands_private_beside_the_store_under_its_id(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        answer = await client.post(ATTACHMENTS, params={"name": "../x/a.html"}, content=b"<script>")
        assert answer.status_code == 201 and answer.json()["name"] == "a.html"
        (file,) = kept(tmp_path)
        assert file.name == answer.json()["id"] and file.read_bytes() == b"<script>"
        assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700


async def test_a_browser_is_given_nothing_that_it_would_show(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        headers = {"Content-Type": "text/html"}
        made = (await client.post(ATTACHMENTS, params={"name": "a.html"}, content=b"<b>", headers=headers)).json()
        answer = await client.get(f"{ATTACHMENTS}/{made['id']}")
        assert answer.content == b"<b>" and answer.headers["content-type"] == "text/html"
        assert answer.headers["content-disposition"] == "attachment"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_too_much_is_refused_by_what_is_said_and_by_what_comes(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    async with raw(tmp_path) as (core, client):
        core.store.files.limit = 1000
        for content in (b"x" * 1001, endless()):
            answer = await client.post(ATTACHMENTS, params={"name": "big"}, content=content)
            assert answer.status_code == 413 and "big is larger than 1000 bytes" in answer.json()["error"]["message"]
        assert kept(tmp_path) == []
        assert (await client.get(ATTACHMENTS)).json() == {"maxBytes": 1000, "maxPerMessage": 20}


async def test_a_file_that_arrives_changed_is_not_kept(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        answer = await client.post(ATTACHMENTS, content=b"x", headers={"X-Relay-Sha256": "0" * 64})
        assert answer.status_code == 422 and kept(tmp_path) == []


async def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async with raw(tmp_path) as (core, client):
        url, token = client.base_url, await token_of(core)
        _, writer = await asyncio.open_connection(url.host, url.port)
        head = f"POST {ATTACHMENTS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        writer.write(f"{head}Content-Length: 100\r\n\r\nonly this".encode())
        async with asyncio.timeout(WAIT_S):
            while not kept(tmp_path):
                await client.get("/healthz")
            writer.close()
            while kept(tmp_path):
                await client.get("/healthz")


async def test_nobody_gets_in_without_a_token_or_without_the_right(tmp_path: Path) -> None:
    async with raw(tmp_path) as (core, client):
        nobody = {"Authorization": "Bearer x"}
        assert (await client.post(ATTACHMENTS, content=b"x", headers=nobody)).status_code == 401
        reader = {"Authorization": f"Bearer {await token_of(core, 'person:x', 'none')}"}
        assert (await client.post(ATTACHMENTS, content=b"x", headers=reader)).status_code == 403
        assert kept(tmp_path) == []


async def test_a_file_that_the_disk_lost_is_not_there(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        made = (await client.post(ATTACHMENTS, content=b"x")).json()
        (tmp_path / "relay-attachments" / made["id"]).unlink()
        answer = await client.get(f"{ATTACHMENTS}/{made['id']}")
        assert answer.status_code == 404 and "gone" in answer.json()["error"]["message"]
