"""How what is asked beside messages is spelled on the wire."""

from __future__ import annotations

import pytest

from relay_runner.protocol.commands import TaskQuery, TaskState
from relay_runner.relay.http import HttpRelay
from tests.unit.relay.servers import answering
from tests.unit.relay.servers import http as answer

pytestmark = pytest.mark.anyio


async def test_a_query_of_tasks_is_spelled_as_the_relay_reads_it() -> None:
    heard: list[bytes] = []
    query = TaskQuery(states=(TaskState.OPEN, TaskState.FAILED), agent_id="bob", before=7, limit=5)
    empty = answer("200 OK", b"[]", "Content-Type: application/json")
    async with answering(empty, heard) as url, HttpRelay.at(url, "t") as relay:
        assert await relay.tasks(query) == []
    line = heard[0].split(b"\r\n")[0].decode()
    for part in ("states=open%2Cfailed", "agentId=bob", "before=7", "limit=5"):
        assert part in line
    assert "createdBy" not in line
