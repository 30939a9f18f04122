from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError

from relay_runner.providers.codex.client import Client, Disconnected, Refused, Request, opened
from tests.terminals import until
from tests.unit.providers.codex.server import THREAD, listening

pytestmark = pytest.mark.anyio


def ignore(method: str, params: Mapping[str, Any]) -> None:
    """Take nothing in."""


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(Disconnected, match="does not answer"):
        async with opened(tmp_path / "none", ignore, pytest.fail):
            pytest.fail("there is nobody")


async def test_answers_and_refusals(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", ignore, pytest.fail) as client:
        server.answers["good"] = lambda params: {"got": params["x"]}
        server.answers["bad"] = lambda params: "it does not want to"
        assert await client.call("good", {"x": "ü" * 100_000}) == {"got": "ü" * 100_000}
        with pytest.raises(Refused, match="does not want to"):
            await client.call("bad", {})


async def test_a_link_leads_to_a_shorter_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / ("longer" * 10)
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "s")
    async with listening(tmp_path / "s"), opened(folder / "link", ignore, pytest.fail) as client:
        assert await client.call("initialize", {}) == {}


async def test_no_answer_in_time_leaves_it_open_what_happened(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", ignore, pytest.fail) as client:
        server.answers["silent"] = lambda params: None
        with pytest.raises(Disconnected, match="timeout: Codex did not answer silent"):
            await client.call("silent", {}, timeout_s=0.05)


async def test_a_hang_up_ends_what_waits(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", ignore, pytest.fail) as client:
        server.answers["silent"] = lambda params: None
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_refused(client.call("silent", {})))
            await until(lambda: bool(server.called("silent")))
            await server.hang_up()
        assert isinstance(waiting.result(), Disconnected)
        assert client.closed.is_set()
        with pytest.raises(Disconnected):
            await client.call("any", {})


class Dying:
    """A connection that breaks for reader and writer at once, the reader first."""

    def __init__(self) -> None:
        self._sending, self._broken = asyncio.Event(), asyncio.Event()

    async def send(self, message: str) -> None:
        self._sending.set()
        await self._broken.wait()
        raise ConnectionClosedError(None, None)

    async def recv(self) -> str:
        await self._sending.wait()
        self._broken.set()
        raise ConnectionClosedError(None, None)


async def test_what_could_not_even_be_sent_leaves_no_error_that_nobody_takes() -> None:
    said: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    client = Client(Dying(), ignore, pytest.fail)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        group.create_task(client.read())
        waiting = group.create_task(_refused(client.call("any", {})))
    assert isinstance(waiting.result(), Disconnected)
    del waiting, client
    gc.collect()
    await asyncio.sleep(0)
    assert said == []


async def test_notifications_and_requests_come_in_and_nonsense_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[str, Mapping[str, Any]]] = []
    asked: list[Request] = []
    async with (
        listening(tmp_path / "s") as server,
        opened(tmp_path / "s", lambda method, params: heard.append((method, params)), asked.append) as client,
    ):
        await client.call("initialize", {})
        (connection,) = server.connections
        for text in ("{", "[]", json.dumps({"id": 99, "result": {}})):
            await connection.send(text)
        await server.ask(0, "item/tool/call", tool="t")
        await server.tell("turn/started", turn={"id": "t1"})
        await until(lambda: bool(heard))
        assert [method for method, _ in heard] == ["turn/started"]
        assert "json-parse-error: Codex sent a line that is not JSON" in caplog.text
        assert [(one.id, one.method, one.thread_id, one.params["tool"]) for one in asked] == [
            (0, "item/tool/call", THREAD, "t")
        ]
        await client.answer(0, {"success": True})
        await client.refuse(1, "unknown here")
        await until(lambda: len(server.said) == 2)
        assert server.said[0] == {"id": 0, "result": {"success": True}}
        assert (server.said[1]["id"], server.said[1]["error"]["message"]) == (1, "unknown here")
        assert await client.call("initialize", {}) == {}


async def _refused(work: Any) -> Exception:
    try:
        await work
    except (Disconnected, Refused) as error:
        return error
    raise AssertionError("it was answered")
