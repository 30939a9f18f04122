from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay_runner.providers.codex.operations import reading
from relay_runner.providers.codex.operations.args import Args
from tests.unit.providers.codex.operations.rooms import room

pytestmark = pytest.mark.anyio


async def test_every_page_is_read(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        pages: dict[str | None, dict[str, Any]] = {
            None: {
                "data": [
                    {"model": "old", "isDefault": True, "supportedReasoningEfforts": [{"reasoningEffort": "low"}]}
                ],
                "nextCursor": "2",
            },
            "2": {"data": [{"model": "new"}], "nextCursor": None},
        }
        made.server.answers["model/list"] = lambda params: pages[params["cursor"]]
        old, new = (await reading.models(made.room, Args({})))["models"]
        assert (old["model"], old["current"], old["default"], old["efforts"]) == ("old", True, True, ["low"])
        assert (new["model"], new["current"]) == ("new", False)


async def test_skills_are_told_in_one_line_each(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        skill = {"name": "s", "description": "two\nlines", "scope": "user", "enabled": True, "path": "/p"}
        made.answers("skills/list", {"data": [{"skills": [skill], "errors": [{"message": "bad file"}]}]})
        assert await reading.skills(made.room, Args({})) == {
            "skills": [{**skill, "description": "two lines"}],
            "errors": ["bad file"],
        }


async def test_mcp_servers_are_told_with_their_tools(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        server = {
            "name": "m",
            "runtimeStatus": {"type": "ready"},
            "authStatus": "unsupported",
            "tools": {"b": 1, "a": 2},
        }
        made.answers("mcpServerStatus/list", {"data": [server]})
        (told,) = (await reading.mcp(made.room, Args({})))["servers"]
        assert told == {"name": "m", "status": "ready", "auth": "unsupported", "tools": ["a", "b"], "error": None}
        made.answers("config/mcpServer/reload", {})
        assert await reading.mcp_reload(made.room, Args({})) == {"reloaded": True}


async def test_what_the_account_does_not_tell_is_told_from_the_last_turn_with_the_reason(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        assert (await reading.limits(made.room, Args({})))["source"] is None
        made.room.limits, made.room.usage = {"primary": 1}, {"total": 2}
        made.answers("account/rateLimits/read", "authentication required")
        told = await reading.limits(made.room, Args({}))
        assert (told["limits"], told["source"]) == ({"primary": 1}, "turn")
        assert "authentication required" in told["reason"]
        made.answers("account/rateLimits/read", {"rateLimits": {"primary": 3}})
        assert await reading.limits(made.room, Args({})) == {
            "limits": {"primary": 3},
            "source": "account",
            "reason": None,
        }
        made.answers("account/usage/read", {"summary": {}})
        assert await reading.usage(made.room, Args({})) == {
            "session": {"total": 2}, "account": {"summary": {}}, "reason": None
        }  # fmt: skip


async def test_background_commands_are_ended_together_or_one_by_one(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        listed = [{"processId": "1", "command": "sleep", "cwd": "/"}, {"processId": "2", "command": "top", "cwd": "/"}]
        made.answers("thread/backgroundTerminals/list", {"data": listed})
        made.answers("thread/backgroundTerminals/terminate", {})
        assert (await reading.terminals_clean(made.room, Args({"id": "2"})))["ended"] == ["2"]
        assert not made.server.called("thread/backgroundTerminals/clean")
        assert (await reading.terminals_clean(made.room, Args({})))["ended"] == ["1", "2"]
        assert made.server.called("thread/backgroundTerminals/clean")
