from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay_runner.protocol.profiles import profile_of
from relay_runner.providers.base import Tool, ToolCall, ToolResult
from relay_runner.providers.codex import tools
from relay_runner.providers.codex.client import opened
from relay_runner.providers.codex.launch import SOCKET
from tests.contract.providers import launch_spec
from tests.terminals import until
from tests.unit.providers.codex.place import Place, watched
from tests.unit.providers.codex.server import THREAD, Answer, listening

pytestmark = pytest.mark.anyio
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}


class Echo:
    """A tool that says what it was told, when the test lets it."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []
        self.go = asyncio.Event()
        self.go.set()

    @property
    def offered(self) -> tuple[Tool, ...]:
        return (Tool("echo", "Says it again.", SCHEMA),)

    async def call(self, call: ToolCall) -> ToolResult:
        self.calls.append(call)
        await self.go.wait()
        return ToolResult(f"{call.name} {call.arguments['x']}", success=call.arguments["x"] != "bad")


def knows_tools(params: Mapping[str, Any]) -> Answer:
    """Answer thread/start as 0.169.0 does."""
    if not isinstance(params.get("dynamicTools", []), list):
        return "Invalid request: invalid type: integer `0`, expected a sequence"
    if "modelProvider" in params:
        return "failed to load configuration: Model provider `relay-runner-probe` not found"
    profile = {"id": params.get("permissions")}
    thread = {"id": THREAD, "status": {"type": "idle"}}
    return {"thread": thread, "model": "old", "activePermissionProfile": profile}


@asynccontextmanager
async def offering(tmp_path: Path, echo: Echo, *, known: bool = True) -> AsyncIterator[Place]:
    async with listening(launch_spec(tmp_path).agent_dir / SOCKET) as server, watched(tmp_path, tools=echo) as made:
        made.server = server
        if known:
            server.answers["thread/start"] = knows_tools
        await made.process.ready()
        yield made


async def call(place: Place, x: Any, id: int = 0) -> None:
    await place.server.ask(id, tools.CALL, callId=f"c{id}", tool="echo", arguments={"x": x} if x else x)


async def test_tools_are_offered_where_the_version_has_them(tmp_path: Path) -> None:
    async with offering(tmp_path, Echo()) as place:
        probe, start = place.server.called("thread/start")
        assert probe == {"modelProvider": tools.NO_SUCH_PROVIDER, "dynamicTools": 0}
        assert start["dynamicTools"] == [
            {"type": "function", "name": "echo", "description": "Says it again.", "inputSchema": SCHEMA}
        ]


async def test_a_model_that_is_to_know_nothing_of_the_relay_is_offered_none(tmp_path: Path) -> None:
    spec = launch_spec(tmp_path, tools=Echo(), profile=profile_of({"relay": {"context": False}}, "quiet"))
    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", print, pytest.fail) as client:
        server.answers["thread/start"] = knows_tools
        assert await tools.offered(client, spec) == {}
        assert list(await tools.offered(client, replace(spec, profile=launch_spec(tmp_path).profile))) == [
            "dynamicTools"
        ]


async def test_a_version_without_tools_is_offered_none(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", print, pytest.fail) as client:
        server.answers["thread/start"] = lambda params: "failed to load configuration: Model provider not found"
        assert not await tools.taken(client)
        server.answers["thread/start"] = knows_tools
        assert await tools.taken(client)


async def test_a_call_is_done_and_answered(tmp_path: Path) -> None:
    echo = Echo()
    async with offering(tmp_path, echo) as place:
        await call(place, "one")
        await call(place, "bad", id=1)
        await until(lambda: len(place.server.said) == 2)
        assert [one["result"] for one in place.server.said] == [
            {"contentItems": [{"type": "inputText", "text": "echo one"}], "success": True},
            {"contentItems": [{"type": "inputText", "text": "echo bad"}], "success": False},
        ]
        assert [one.key for one in echo.calls] == [f"{THREAD}:t1:c0", f"{THREAD}:t1:c1"]


async def test_arguments_that_are_none_are_answered(tmp_path: Path) -> None:
    async with offering(tmp_path, Echo()) as place:
        await call(place, None)
        await until(lambda: bool(place.server.said))
        assert place.server.said[0]["result"]["success"] is False


async def test_a_call_that_a_broken_connection_cut_off_comes_again_under_the_same_key(tmp_path: Path) -> None:
    echo = Echo()
    async with offering(tmp_path, echo) as place:
        echo.go.clear()
        await call(place, "one")
        await until(lambda: len(echo.calls) == 1)
        await place.server.hang_up()
        await until(lambda: len(echo.calls) == 2)
        echo.go.set()
        await until(lambda: bool(place.server.said))
        assert echo.calls[0] == echo.calls[1] and len(place.server.said) == 1


async def test_what_nobody_waits_for_any_more_is_not_begun(tmp_path: Path) -> None:
    echo = Echo()
    async with offering(tmp_path, echo) as place:
        echo.go.clear()
        await call(place, "one")
        await until(lambda: len(echo.calls) == 1)
        await call(place, "two", id=1)
        await place.server.resolve(1)
        await call(place, "three", id=2)
        await place.begins(None)  # by now all of it was taken in
        echo.go.set()
        await until(lambda: len(place.server.said) == 2)
        assert [one.arguments["x"] for one in echo.calls] == ["one", "three"]
