"""Web pages do not reach the relay."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.server.gate import is_loopback
from tests.unit.server.raw import raw


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.0.0.1.evil.com", False),
        ("evil.com", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Host": "localhost:3000", "Origin": "http://localhost:3000"}, 200),
        ({"Host": "[::1]:3000", "Origin": "https://[::1]:3000"}, 200),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost:3001", "Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost:3000", "Origin": "http://127.0.0.1:3000"}, 403),
        ({"Host": "localhost:3000", "Origin": "http://localhost:3000.evil.com"}, 403),
        ({"Host": "localhost:3000", "Origin": "http://localhost"}, 403),
        ({"Host": "evil.com"}, 403),
        ({"Host": "[bad"}, 403),
        ({"Origin": "https://evil.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[bad"}, 403),
    ],
)
async def test_a_foreign_host_or_origin_is_refused(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    async with raw(tmp_path) as (_, client):
        for _ in range(2):
            answer = await client.get("/healthz", headers=headers)
            assert answer.status_code == status
            if status == 403:
                assert answer.json()["error"]["code"] == "forbidden"
