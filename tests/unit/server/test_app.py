"""Paths and methods that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.server.routes import ROUTES
from tests.unit.server.raw import raw

pytestmark = pytest.mark.anyio


async def test_what_is_not_in_the_table_is_refused_in_one_line(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        for method, path, status in (
            ("GET", "/", 404),
            ("GET", "/api/v1/messages/", 404),
            ("DELETE", "/api/v1/messages", 405),
            ("GET", "/api/v1/bus", 404),
        ):
            answer = await client.request(method, path)
            assert answer.status_code == status, path
            assert answer.json()["error"]["code"] == "no-route" and path in answer.json()["error"]["message"]


async def test_every_route_of_the_table_is_served(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        del client.headers["Authorization"]
        for route in ROUTES:
            path = route.path.replace("{id}", "1").replace("{jti}", "x")
            answer = await client.request(route.method, path)
            assert answer.status_code == (200 if route.open else 401), path
