"""The parts of the message path are wired to each other; what they do is in their own tests and in `test_runner`."""

import asyncio
from pathlib import Path

import pytest

from relay_runner.config import AgentPaths
from relay_runner.providers.base import Capabilities
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.delivering import Delivering
from relay_runner.runner.identity import Identity
from relay_runner.runner.journal import Journal
from relay_runner.runner.options import RunnerOptions
from relay_runner.runner.work import Work

pytestmark = pytest.mark.anyio


async def test_every_part_that_lives_is_a_service_and_a_lost_claim_reaches_the_inbox(tmp_path: Path) -> None:
    options = RunnerOptions(agent_id="bob", provider="scripted", cwd=tmp_path)
    with Journal(tmp_path / "journal.db") as journal:
        path = Delivering(
            MemoryRelay(), journal, options=options, identity=Identity(options), paths=AgentPaths(tmp_path),
            work=Work(), capabilities=Capabilities(), joined=asyncio.Event(), process=lambda: None,
            publish=lambda: None,
        )  # fmt: skip
        services = path.services()
        assert sorted(services) == ["claims", "inbox", "overtime", "receipts"]
        for service in services.values():
            service.close()
        assert path.claims.on_lost == path.inbox._lost
        assert path.receipts.on_told == path.claims.drop
