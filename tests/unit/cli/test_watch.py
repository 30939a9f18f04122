"""Where the live view cannot be, one line says what to use instead."""

from __future__ import annotations

import pytest

from relay_runner import config
from relay_runner.cli import watch as module
from relay_runner.cli.session import open_session
from relay_runner.errors import ConfigError
from tests.unit.cli.conftest import World


def test_it_needs_a_terminal(world: World) -> None:
    assert "watch needs a terminal: use `ps --json`" in world.run("watch", code=2)[1]


@pytest.mark.anyio
async def test_an_agent_without_a_runner_cannot_be_shown(world: World) -> None:
    config.private_dir(world.paths.agents / "bob")
    async with open_session() as opened:
        with pytest.raises(ConfigError, match="bob does not run"):
            await module._show(opened, "bob")
