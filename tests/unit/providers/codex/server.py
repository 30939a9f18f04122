"""An app-server of a few lines, for what the real one cannot be made to show: it answers by a table and remembers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, unix_serve

THREAD = "01a1fb2e-0000-7000-8000-00000000beef"
Answer = dict[str, Any] | str | None
"""A result; the text of an error; None for no answer at all."""


class FakeServer:
    """Answer every method by `answers[method](params)`; a method that is not in the table is unknown."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.connections: list[ServerConnection] = []
        self.turns: list[dict[str, Any]] = []
        self.status: dict[str, Any] = {"type": "idle"}
        self.answers: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "initialize": lambda params: {},
            "account/read": lambda params: {"account": None, "requiresOpenaiAuth": False},
            "config/read": lambda params: {"config": {"developer_instructions": "The user's own."}},
            "model/list": lambda params: {"data": [{"model": "old", "upgrade": "new"}, {"model": "new"}]},
            "skills/extraRoots/set": lambda params: {},
            "thread/start": self._thread,
            "thread/resume": self._thread,
            "thread/name/set": lambda params: {},
            "thread/loaded/list": lambda params: {"data": [THREAD]},
            "thread/turns/list": lambda params: {"data": self.turns, "nextCursor": None},
            "thread/backgroundTerminals/clean": lambda params: {},
            "turn/start": self._turn,
        }

    def _thread(self, params: dict[str, Any]) -> Answer:
        thread = {"id": params.get("threadId", THREAD), "status": self.status, "cliVersion": "0"}
        return {"thread": thread, "model": "old", "reasoningEffort": None}

    def _turn(self, params: dict[str, Any]) -> Answer:
        if not isinstance(params.get("additionalContext", {}), dict):
            return "Invalid request: invalid type: integer `0`, expected a map"
        if params["threadId"] != THREAD:
            return f"thread not found: {params['threadId']}"
        return {"turn": {"id": "t1", "status": "inProgress"}}

    def called(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of every call of a method, but for those that only probe."""
        return [params for name, params in self.calls if name == method and params.get("threadId", THREAD) == THREAD]

    async def tell(self, method: str, **params: Any) -> None:
        """Notify whoever is connected."""
        for connection in self.connections:
            await connection.send(json.dumps({"method": method, "params": {"threadId": THREAD, **params}}))

    async def hang_up(self) -> None:
        """Close every connection."""
        for connection in [*self.connections]:
            await connection.close()

    async def serve(self, connection: ServerConnection) -> None:
        """Answer one client until it is gone."""
        self.connections.append(connection)
        try:
            async for data in connection:
                message = json.loads(data)
                if "id" in message:
                    await self._answer(connection, message)
        finally:
            self.connections.remove(connection)

    async def _answer(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        method, params = message["method"], message["params"]
        self.calls.append((method, params))
        answer = self.answers.get(method, lambda params: f"Invalid request: unknown variant `{method}`")(params)
        if isinstance(answer, str):
            await connection.send(json.dumps({"id": message["id"], "error": {"code": -32600, "message": answer}}))
        elif answer is not None:
            await connection.send(json.dumps({"id": message["id"], "result": answer}))


@asynccontextmanager
async def listening(socket: Path) -> AsyncIterator[FakeServer]:
    """Serve on a unix socket."""
    fake = FakeServer()
    server = await unix_serve(fake.serve, str(socket), compression=None, max_size=None)
    try:
        yield fake
    finally:
        server.close()
        async with asyncio.timeout(5):
            await server.wait_closed()
