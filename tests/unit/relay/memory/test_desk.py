"""Who may ask a relay in memory for what: as the real one answers."""

from __future__ import annotations

import pytest

from relay_runner.errors import RelayUnauthorized
from relay_runner.protocol.access import Caller
from relay_runner.protocol.commands import NewTask
from relay_runner.protocol.permissions import PermissionQuery
from relay_runner.protocol.tokens import TokenRequest
from relay_runner.relay.memory.hub import Hub
from relay_runner.relay.memory.relay import MemoryRelay

pytestmark = pytest.mark.anyio


async def test_without_a_scope_nothing_is_done() -> None:
    nobody = MemoryRelay(Hub(), Caller("agent:bob", frozenset({"agent:bob"})))
    for call in (
        nobody.create_task(NewTask(subject="s")),
        nobody.permissions(PermissionQuery()),
        nobody.issue_token(TokenRequest(subject="agent:eve", scopes=())),
        nobody.revoke_token("j"),
    ):
        with pytest.raises(RelayUnauthorized):
            await call
