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
        self.threads: dict[str, dict[str, Any]] = {}
        """Other threads that are loaded, by id."""
        self.asked: list[dict[str, Any]] = []
        """What waits for an answer; asked again of who resumes the thread."""
        self.asks_after = "thread/resume"
        """After which call of a new connection that is."""
        self.said: list[dict[str, Any]] = []
        """What clients answered to that."""
        self.answers: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "initialize": lambda params: {},
            "account/read": lambda params: {"account": None, "requiresOpenaiAuth": False},
            "config/read": lambda params: {"config": {"developer_instructions": "The user's own."}},
            "model/list": lambda params: {"data": [{"model": "old", "upgrade": "new"}, {"model": "new"}]},
            "skills/extraRoots/set": lambda params: {},
            "thread/start": self._thread,
            "thread/resume": self._thread,
            "thread/name/set": lambda params: {},
            "thread/loaded/list": lambda params: {"data": [THREAD, *self.threads]},
            "thread/read": self._read,
            "thread/inject_items": lambda params: {},
            "thread/turns/list": lambda params: {"data": self.turns, "nextCursor": None},
            "thread/backgroundTerminals/clean": lambda params: {},
            "turn/start": self._turn,
        }

    def _thread(self, params: dict[str, Any]) -> Answer:
        thread = {"id": params.get("threadId", THREAD), "status": self.status, "cliVersion": "0"}
        profile = {"id": params["permissions"]} if "permissions" in params else None
        return {"thread": thread, "model": "old", "reasoningEffort": None, "activePermissionProfile": profile}

    def _read(self, params: dict[str, Any]) -> Answer:
        if params["threadId"] == THREAD:
            return {"thread": {"id": THREAD, "status": self.status}}
        found = self.threads.get(params["threadId"])
        return {"thread": found} if found else "thread not found"

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

    async def ask(self, id: int, method: str, **params: Any) -> None:
        """Ask whoever is connected."""
        self.asked.append({"id": id, "method": method, "params": {"threadId": THREAD, "turnId": "t1", **params}})
        for connection in self.connections:
            await connection.send(json.dumps(self.asked[-1]))

    async def resolve(self, id: int) -> None:
        """Take what was asked for answered."""
        self.asked = [one for one in self.asked if one["id"] != id]
        await self.tell("serverRequest/resolved", requestId=id)

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
                if "method" not in message:
                    self.said.append(message)
                elif "id" in message:
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
        if method == self.asks_after:  # the real one takes a moment
            for one in self.asked:
                if one["params"]["threadId"] == params.get("threadId", THREAD):
                    await connection.send(json.dumps(one))


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
