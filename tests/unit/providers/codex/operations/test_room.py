from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay_runner.errors import ProviderRefused, ProviderUnsupported
from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import ProcessState, TurnEnded
from relay_runner.providers.codex.memo import Memo
from relay_runner.providers.codex.operations.room import Room
from tests.contract.providers import launch_spec
from tests.unit.providers.codex.operations.rooms import room
from tests.unit.providers.codex.server import THREAD

pytestmark = pytest.mark.anyio


async def test_what_the_server_lacks_is_unsupported_and_what_it_refuses_is_refused(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        with pytest.raises(ProviderUnsupported, match="no thread/dance"):
            await made.room.call("thread/dance")
        made.answers("thread/dance", "thread/dance requires experimentalApi capability")
        with pytest.raises(ProviderUnsupported):
            await made.room.call("thread/dance")
        made.answers("thread/dance", "not today")
        with pytest.raises(ProviderRefused, match="not today"):
            await made.room.of_thread("thread/dance", fast=True)
        assert made.server.calls[-1] == ("thread/dance", {"threadId": THREAD, "fast": True})


async def test_without_a_connection_everything_is_refused(tmp_path: Path) -> None:
    spec = launch_spec(tmp_path)
    room = Room(
        spec, Memo(tmp_path), connected=lambda: None, state=lambda: ProcessState.STARTING, enter=lambda joined: None
    )
    with pytest.raises(ProviderRefused, match="no connection"):
        await room.call("thread/read")


async def test_the_thread_is_had_alone_only_while_it_is_idle_and_by_one(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.state = ProcessState.BUSY
        with pytest.raises(ProviderRefused, match="busy"):
            async with made.room.alone("compacting"):
                raise AssertionError("never here")
        made.state = ProcessState.IDLE
        async with made.room.alone("compacting"):
            assert made.room.doing == "compacting"
            with pytest.raises(ProviderRefused, match="Codex is compacting"):
                async with made.room.alone("reviewing"):
                    raise AssertionError("never here")
        assert made.room.doing is None


async def test_a_message_that_goes_in_just_now_comes_first(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        async with made.room.submitting():
            waiting = asyncio.create_task(made.room.alone("compacting").__aenter__())
            await asyncio.sleep(0)
            assert made.room.doing is None
            made.state = ProcessState.BUSY  # the message began a turn
        with pytest.raises(ProviderRefused, match="busy"):
            await waiting


async def test_listeners_hear_what_comes_while_they_listen(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        end = TurnEnded(Outcome.COMPLETED, "turn/completed")
        with made.room.listening() as notices, made.room.ends() as ends:
            made.room.heard("turn/started", {"turn": 1})
            made.room.ended(end)
        made.room.heard("turn/started", {"turn": 2})
        made.room.ended(end)
        assert (notices.qsize(), await notices.get(), ends.qsize()) == (1, ("turn/started", {"turn": 1}), 1)


async def test_the_last_limits_and_usage_are_kept(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.room.heard("account/rateLimits/updated", {"rateLimits": {"limitId": "x"}})
        made.room.heard("thread/tokenUsage/updated", {"tokenUsage": {"total": {}}})
        assert (made.room.limits, made.room.usage) == ({"limitId": "x"}, {"total": {}})
