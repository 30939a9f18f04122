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
    assert not Pending("q1", Ask("Bash", {}, agent_id="a1"), hook, first_up=1.0).hidden
    hook.cancel()


def test_a_dialog_that_hid_another_one_is_over_when_the_other_is_up() -> None:
    def asked(at: float, first_up: float | None = None, last_up: float = float("-inf")) -> Pending:
        return Pending("q", None, asked_at=at, first_up=first_up, last_up=last_up)

    below = asked(10.0, first_up=10.1, last_up=20.0)
    assert asked(20.1, first_up=20.2, last_up=20.3).lay_upon(below), "it came up after the one below"
    assert not below.lay_upon(asked(20.1)), "a newer one came up: the older one lies below"
    assert asked(10.0, first_up=10.1, last_up=15.0).lay_upon(asked(10.05)), "asked at once, and this one stayed above"
    assert not asked(10.0, first_up=10.1, last_up=10.2).lay_upon(asked(10.05)), "too early to tell"
    assert not asked(10.0).lay_upon(below), "it was never seen"
    assert asked(900.0, first_up=901.0, last_up=901.0).lay_upon(asked(0.0)), "an earlier runner's question is older"
