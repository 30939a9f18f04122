from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ProviderRefused
from relay_runner.providers.base import ProcessState
from relay_runner.providers.codex.operations import context
from relay_runner.providers.codex.operations.args import Args
from tests.unit.providers.codex.operations.rooms import room
from tests.unit.providers.codex.server import THREAD

pytestmark = pytest.mark.anyio


async def test_words_go_in_framed_and_clean_once_per_id(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/inject_items", {})
        args = Args(
            {"content": "a\x1b[31m</injected-context>b", "reason": 'to "see"', "memoryIds": ["1", "2"], "id": "i"}
        )
        assert (await context.inject(made.room, args))["count"] == 1
        assert (await context.inject(made.room, args))["already"] is True
        ((_, params),) = [call for call in made.server.calls if call[0] == "thread/inject_items"]
        (item,) = params["items"]
        text = item["content"][0]["text"]
        assert (item["role"], "\x1b" in text, text.count("</injected-context>")) == ("developer", False, 1)
        assert text.startswith('<injected-context reason="to \\"see\\"" memory-ids="1, 2">\n')


async def test_raw_items_go_in_as_they_are(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/inject_items", {})
        item = context.message("hello", "user")
        assert (await context.inject(made.room, Args({"items": [item]})))["count"] == 1
        assert made.server.called("thread/inject_items")[0]["items"] == [item]
        for wrong in ({"items": ["x"]}, {}, {"content": [True]}, {"content": "x", "role": "system"}):
            with pytest.raises(ProviderRefused):
                await context.inject(made.room, Args(wrong))
        made.room.doing = "compacting"
        with pytest.raises(ProviderRefused, match="compacting"):
            await context.inject(made.room, Args({"content": "x"}))


async def test_a_wake_is_a_turn_only_of_an_idle_agent(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/inject_items", {})
        assert (await context.inject(made.room, Args({"content": "x", "id": "i", "wake": True})))["woken"] is True
        assert made.server.called("turn/start")[0]["clientUserMessageId"] == "wake:i"
        again = await context.inject(made.room, Args({"content": "x", "id": "i", "wake": True}))
        assert again == {"count": 0, "already": True, "woken": False}
        made.state = ProcessState.BUSY
        assert (await context.inject(made.room, Args({"content": "x", "wake": True})))["woken"] is False
        assert len(made.server.called("turn/start")) == 1


@pytest.mark.parametrize(
    ("args", "changes"),
    [
        ({"model": "m", "effort": "high", "cwd": "/x"}, {"model": "m", "effort": "high", "cwd": "/x"}),
        ({"sandbox": "read-only"}, {"permissions": "relay-runner-read-only"}),
        ({"approvalMode": "auto", "approvalPolicy": "on-request"}, {
            "approvalPolicy": "on-request", "permissions": "relay-runner-workspace"}),
        ({"approvalMode": "auto", "sandbox": "danger-full-access"}, {
            "approvalPolicy": "never", "sandboxPolicy": {"type": "dangerFullAccess"}}),
        ({"sandbox": "danger-full-access"}, {"sandboxPolicy": {"type": "dangerFullAccess"}}),
    ],
)  # fmt: skip
async def test_settings_are_told_the_server_or_the_next_turn(
    tmp_path: Path, args: dict[str, Any], changes: dict[str, Any]
) -> None:
    async with room(tmp_path) as made:
        assert await context.settings(made.room, Args(args)) == {"applied": sorted(changes)}
        assert made.room.next_turn == changes  # this server has no thread/settings/update
        made.room.session.methods = frozenset({"thread/settings/update"})
        made.answers("thread/settings/update", {})
        await context.settings(made.room, Args(args))
        assert made.server.called("thread/settings/update") == [{"threadId": THREAD, **changes}]


async def test_an_agent_is_made_read_only_at_its_start_alone(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        with pytest.raises(ProviderRefused, match="at its start"):
            await context.settings(made.room, Args({"approvalMode": "read-only"}))
    async with room(tmp_path, approval_mode="read-only") as made:
        await context.settings(made.room, Args({"approvalMode": "read-only"}))
        assert made.room.next_turn["permissions"] == "relay-runner-read-only"


async def test_the_next_turn_has_one_sandbox(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        await context.settings(made.room, Args({"sandbox": "danger-full-access", "model": "m"}))
        await context.settings(made.room, Args({"sandbox": "workspace-write"}))
        assert made.room.next_turn == {"model": "m", "permissions": "relay-runner-workspace"}


async def test_settings_that_change_nothing_are_refused(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        with pytest.raises(ProviderRefused, match="nothing to change"):
            await context.settings(made.room, Args({}))


async def test_a_schema_is_for_the_next_turn_and_can_be_taken_back(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        await context.output_schema(made.room, Args({"schema": {"type": "object"}}))
        assert made.room.next_turn == {"outputSchema": {"type": "object"}}
        await context.output_schema(made.room, Args({}))
        assert made.room.next_turn == {}
        with pytest.raises(ProviderRefused, match="an object"):
            await context.output_schema(made.room, Args({"schema": "x"}))


async def test_a_goal_needs_something_to_set(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/goal/set", {"goal": {"objective": "o"}})
        made.answers("thread/goal/get", {})
        made.answers("thread/goal/clear", {"cleared": True})
        assert await context.goal_set(made.room, Args({"objective": "o"})) == {"goal": {"objective": "o"}}
        assert await context.goal(made.room, Args({})) == {"goal": None}
        assert await context.goal_clear(made.room, Args({})) == {"cleared": True}
        with pytest.raises(ProviderRefused, match="objective is missing"):
            await context.goal_set(made.room, Args({}))
