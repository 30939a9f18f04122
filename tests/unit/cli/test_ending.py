"""What is left of an agent is ended by force, and nothing else."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.cli import compose, ending
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.runner import record
from relay_runner.terminal import processes
from relay_runner.terminal.base import Terminal, TerminalSpec
from tests.harness import forget_short_path
from tests.unit.cli.test_local import Runner, start

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")]
__all__ = ["start"]


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[config.Paths]:
    yield config.paths({config.HOME_VARIABLE: str(tmp_path)})
    forget_short_path(tmp_path)


async def leave_program(paths: config.Paths) -> Terminal:
    """Leave a program in a terminal, and the record of it, as a runner does."""
    run_dir = config.private_dir(paths.agent("bob").run / "s1")
    terminal = await compose.terminals_of(paths, "tmux").open(
        TerminalSpec(argv=("sleep", "600"), env={"PATH": "/usr/bin:/bin"}, cwd=Path("/"), run_dir=run_dir, name="bob")
    )
    saved = record.ProcessRecord(
        provider="generic",
        terminal=terminal.saved,
        control=ControlEndpoint(url="http://127.0.0.1:1", port=1, secret="s", provider_session_id="s1"),
        argv=("sleep", "600"),
        cwd="/",
        session_id=None,
        resumed=False,
        started_at=time.time(),
    )
    record.save(paths.agent("bob").process, saved)
    return terminal


async def test_runner_program_and_terminal_are_ended(paths: config.Paths, start: Callable[[str], Runner]) -> None:
    info, runner = start("bob")
    terminal = await leave_program(paths)
    try:
        assert await ending.by_force(paths, "bob", info.pid) == ["runner", "provider"]
        assert runner.wait(30) == -9
        assert not terminal.alive()
        assert not Path(terminal.saved.socket or "").exists()
        assert not paths.agent("bob").process.exists()
        assert await ending.by_force(paths, "bob", None) == []
    finally:
        await terminal.close()


async def test_a_program_that_is_dead_already_is_only_cleaned_away(paths: config.Paths) -> None:
    config.private_dir(paths.agent("bob").root)
    terminal = await leave_program(paths)
    try:
        await processes.end(frozenset({terminal.process}), 0.0)
        assert await ending.by_force(paths, "bob", None) == []
        assert not paths.agent("bob").process.exists()
    finally:
        await terminal.close()


async def test_a_program_whose_terminal_cannot_be_reached_is_ended_with_its_server(paths: config.Paths) -> None:
    """The name of the socket is taken by a folder: the server cannot make it again."""
    config.private_dir(paths.agent("bob").root)
    terminal = await leave_program(paths)
    server = terminal.saved.server
    assert server is not None and processes.runs(server)
    socket = Path(terminal.saved.socket or "")
    socket.unlink()
    socket.mkdir()
    assert "cannot be reached" in str(await terminal.repair())
    assert await ending.by_force(paths, "bob", None) == ["provider"]
    assert not terminal.alive()
    assert await processes.gone_within([server], 5)
    assert not Path(terminal.saved.run_dir).exists()
