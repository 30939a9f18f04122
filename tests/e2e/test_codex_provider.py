"""The Codex provider on the real program: what fails, what breaks, and what is left behind."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import LaunchSpec, ProcessState, Seen, SessionStarted, StateChanged, TurnEnded
from relay_runner.providers.codex.client import opened
from relay_runner.providers.codex.launch import socket
from relay_runner.providers.codex.process import CodexProcess
from relay_runner.providers.codex.session import CLIENT
from tests.contract.providers import Rig, adopt, codex_rig, connected, launch, running
from tests.terminals import sockets as sockets
from tests.terminals import until

pytestmark = [pytest.mark.anyio, pytest.mark.codex]


@pytest.fixture
async def rig(tmp_path: Path, sockets: Path) -> AsyncIterator[Rig]:
    async with codex_rig(tmp_path, sockets) as opened:
        yield opened


async def test_a_connection_that_broke_in_a_turn_is_made_again_and_nothing_is_lost_or_told_twice(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver("SLOW:2\nSAY:carried over")
        await it.seen(one)
        process = it.process
        assert isinstance(process, CodexProcess) and process._link.client is not None
        await process._link.client._connection.close()
        assert (await it.ended(one)).result == "carried over"
        for kind in (Seen, TurnEnded, SessionStarted):
            assert len([event for event in it.events if isinstance(event, kind)]) == 1, kind
        assert (await it.ended(await it.deliver("SAY:next"))).result == "next"


async def test_a_turn_that_ended_while_the_connection_was_broken_is_found(rig: Rig) -> None:
    launched = await launch(rig)
    async with connected(rig, launched) as it:
        one = await it.deliver("SLOW:1\nSAY:unheard")
        await it.seen(one)
        process = it.process
        assert isinstance(process, CodexProcess) and process._link.client is not None
        notice, process._link.client._notice = process._link.client._notice, lambda method, params: None
        await rig.shows(launched.terminal, "unheard")
        process._link.client._notice = notice
        await process._link.client._connection.close()
        assert (await it.ended(one)).result == "unheard"


async def test_an_interrupt_leaves_no_command_behind(rig: Rig) -> None:
    async with running(rig, approval_mode="auto") as it:
        words = ("sleep", str(10_000 + secrets.randbelow(10**6)))
        one = await it.deliver(f"RUN:exec {' '.join(words)}")
        await until(lambda: _runs(words), patience_s=20)
        await it.process.interrupt()
        assert (await it.ended(one)).outcome is Outcome.INTERRUPTED
        await until(lambda: not _runs(words), patience_s=20)


async def test_a_read_only_agent_cannot_write(rig: Rig) -> None:
    async with running(rig, approval_mode="read-only") as it:
        await it.ended(await it.deliver("RUN:touch written\nSAY:tried"))
        assert not (it.launched.spec.cwd / "written").exists()


async def test_a_question_that_is_open_while_no_runner_is_there_is_still_open_for_the_next(rig: Rig) -> None:
    launched = await launch(rig)
    async with connected(rig, launched) as it:
        one = await it.deliver("RUN:mkdir asked\nSAY:made")
        await it.event(StateChanged, lambda event: event.state is ProcessState.WAITING)
    async with connected(rig, await adopt(rig, launched), adopted=True) as it:
        assert it.process.state is ProcessState.WAITING
        assert rig.answer is not None
        await rig.answer(it)
        assert (await it.ended(one)).result == "made"


async def test_a_session_that_nobody_watched_is_put_away_and_comes_back(rig: Rig, tmp_path: Path) -> None:
    config = tmp_path / "home" / ".codex" / "config.toml"
    config.write_text("thread_unload_delay_secs = 1\n" + config.read_text())
    launched = await launch(rig)
    async with connected(rig, launched) as it:
        one = await it.deliver("SAY:before")
        assert (await it.ended(one)).result == "before"
        session = (await it.event(SessionStarted)).session_id
    await until(lambda: _loaded(launched.spec, []), patience_s=30)
    again = await adopt(rig, launched)
    again.plan = replace(again.plan, session_id=session)  # the runner remembers it
    async with connected(rig, again, adopted=True) as it:
        assert (await it.event(SessionStarted)).session_id == session
        assert (await it.process.find(one.nonce)).result == "before"
        assert (await it.ended(await it.deliver("SAY:after"))).result == "after"
        assert await _loaded(launched.spec, [session]), "whoever watches keeps it loaded"


async def _loaded(spec: LaunchSpec, expected: list[str]) -> bool:
    """Say whether the app-server has just these threads loaded."""
    async with opened(socket(spec), lambda method, params: None) as client:
        await client.call("initialize", {"clientInfo": CLIENT, "capabilities": {"experimentalApi": True}})
        await client.notify("initialized")
        return bool((await client.call("thread/loaded/list", {}))["data"] == expected)


def _runs(words: tuple[str, ...]) -> bool:
    """Say whether a command runs anywhere: inside the sandbox its pid is another one."""
    wanted = "".join(f"{word}\0" for word in words).encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if (folder / "cmdline").read_bytes() == wanted:
                    return True
            except OSError:
                continue
    return False
