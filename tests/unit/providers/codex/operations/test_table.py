from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import ProviderRefused, ProviderUnsupported
from relay_runner.providers.codex.operations import available, run
from relay_runner.providers.codex.operations.table import OPERATIONS
from tests.unit.providers.codex.operations.rooms import room

pytestmark = pytest.mark.anyio


def test_what_the_server_lacks_is_not_available() -> None:
    assert "compact" in available(frozenset({"thread/compact/start"}))
    assert "review" not in available(frozenset({"thread/compact/start"}))
    assert {"settings", "usage"} <= set(available(frozenset({"initialize"})))
    assert set(available(frozenset())) == set(OPERATIONS)  # it did not tell


def test_every_operation_says_in_one_line_what_it_does() -> None:
    for name, operation in available(frozenset()).items():
        assert 10 < len(operation.summary) < 120, name
        assert all(operation.takes.values()), name


async def test_an_operation_is_checked_before_anything_is_done(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.room.session.methods = frozenset({"initialize"})
        with pytest.raises(ProviderUnsupported, match="this version of Codex cannot review: it has no review/start"):
            await run(made.room, "review", {})
        with pytest.raises(ProviderUnsupported, match="no operation 'dance'"):
            await run(made.room, "dance", {})
        with pytest.raises(ProviderRefused, match="no argument 'x'"):
            await run(made.room, "usage", {"x": 1})
        assert made.server.calls == []
