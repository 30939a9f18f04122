"""The page that Prometheus reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.server.metrics import Metrics
from relay_runner.server.store.base import Counts
from tests.unit.server.raw import raw


def test_every_number_is_on_the_page() -> None:
    metrics = Metrics()
    metrics.requests[201] += 2
    metrics.messages = 3
    text = metrics.text(Counts(agents=1, connected=1, queued=5))
    for line in ('relay_requests_total{status="201"} 2', "relay_messages_total 3", "relay_queued 5"):
        assert line in text.splitlines()
    assert text.endswith("\n")


@pytest.mark.anyio
async def test_the_page_is_served(tmp_path: Path) -> None:
    async with raw(tmp_path) as (_, client):
        await client.post("/api/v1/messages", json={"to": "person:ann", "body": "x"})
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert "relay_messages_total 1" in answer.text and "relay_queued 1" in answer.text
