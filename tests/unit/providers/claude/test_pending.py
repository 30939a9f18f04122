import asyncio

import pytest

from relay_runner.providers.base import HookReply
from relay_runner.providers.claude.asks import Ask
from relay_runner.providers.claude.pending import Pending

pytestmark = pytest.mark.anyio


async def test_a_held_call_is_let_go_once() -> None:
    hook: asyncio.Future[HookReply] = asyncio.get_running_loop().create_future()
    pending = Pending("q1", Ask("Bash", {"command": "ls"}, agent_id="a1"), hook)
    assert pending.hidden and pending.loose_since is None
    pending.let_go(HookReply({"x": 1}))
    pending.let_go()
    assert hook.result().body == {"x": 1}
    assert not pending.hidden and pending.hook is None and pending.loose_since is not None


async def test_only_a_subagents_dialog_can_be_hidden() -> None:
    hook: asyncio.Future[HookReply] = asyncio.get_running_loop().create_future()
    assert not Pending("q1", Ask("Bash", {}), hook).hidden
    assert not Pending("q1", None).hidden
    assert not Pending("q1", Ask("Bash", {}, agent_id="a1"), hook, shown=True).hidden
    hook.cancel()
