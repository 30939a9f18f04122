from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import ProviderRefused
from relay_runner.providers.codex.operations import tools
from relay_runner.providers.codex.operations.args import Args
from tests.unit.providers.codex.operations.rooms import room
from tests.unit.providers.codex.server import THREAD

pytestmark = pytest.mark.anyio


async def test_a_tool_is_called_and_a_resource_read(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        content = [{"type": "text", "text": "hi"}]
        made.answers("mcpServer/tool/call", {"content": content})
        told = await tools.mcp_call(made.room, Args({"server": "m", "tool": "t", "arguments": {"x": 1}}))
        assert told == {"content": content, "structuredContent": None, "isError": False}
        given = {"threadId": THREAD, "server": "m", "tool": "t", "arguments": {"x": 1}}
        assert made.server.called("mcpServer/tool/call") == [given]
        made.answers("mcpServer/resource/read", {"contents": [{"uri": "u", "text": "x"}]})
        read = await tools.mcp_resource(made.room, Args({"server": "m", "uri": "u"}))
        assert read == {"contents": [{"uri": "u", "text": "x"}]}
        with pytest.raises(ProviderRefused, match="arguments must be an object"):
            await tools.mcp_call(made.room, Args({"server": "m", "tool": "t", "arguments": "x"}))
        with pytest.raises(ProviderRefused, match="tool is missing"):
            await tools.mcp_call(made.room, Args({"server": "m"}))


async def test_hooks_of_other_folders(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        hook = {"eventName": "stop", "matcher": None, "source": "user", "sourcePath": "/h", "enabled": True}
        hooks, errors = [{**hook, "trustStatus": "untrusted"}], [{"message": "bad\nfile"}]
        place = {"hooks": hooks, "errors": errors, "warnings": ["w"]}
        made.answers("hooks/list", {"data": [place]})
        told = await tools.hooks(made.room, Args({"folders": ["/a", "/b"]}))
        assert made.server.calls[-1] == ("hooks/list", {"cwds": ["/a", "/b"]})
        assert told["errors"] == ["bad file", "w"]
        assert told["hooks"] == [
            {"event": "stop", "matcher": None, "source": "user", "path": "/h", "enabled": True, "trust": "untrusted"}
        ]
        with pytest.raises(ProviderRefused, match="relative is not an absolute path"):
            await tools.hooks(made.room, Args({"folders": "relative"}))


async def test_permission_profiles_with_the_one_in_force(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.room.session.profile = "mine"
        made.answers("permissionProfile/list", {"data": [{"id": "mine", "allowed": True}], "nextCursor": None})
        assert await tools.permission_profiles(made.room, Args({})) == {
            "profiles": [{"id": "mine", "description": "", "allowed": True}], "current": "mine"
        }  # fmt: skip
