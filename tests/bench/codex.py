"""Codex: from "the relay accepted it" to its userMessage item, beside a bare turn/start on the same server.

Both sides take turns in one run, on one app-server and one thread, and a second client of the server sees both alike:
a delivery is over when the item that carries it is told, a bare turn/start too. The floor is nothing but that bare
call: the relay, the journal and the runner are all ours to answer for.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay_runner.protocol.messages import NewMessage, State
from relay_runner.protocol.tokens import TokenRequest
from relay_runner.providers.codex import launch
from relay_runner.relay.http import HttpRelay
from tests.codex import codex_environ, codex_home
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home

ROUNDS = 100
WARM_UP = 5
PATIENCE_S = 30.0
PAUSE_S = 0.1


@dataclass(frozen=True)
class Figures:
    """Milliseconds."""

    channel: str
    delivery_p50_ms: float
    bare_p50_ms: float
    p50_ratio: float
    delivery_p99_ms: float
    bare_p99_ms: float
    p99_ratio: float
    rounds: int


class Observer:
    """Another client of the app-server, which sees what happens on the thread and starts turns by itself."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.items: asyncio.Queue[float] = asyncio.Queue()
        """When each userMessage item was told."""
        self.ends: asyncio.Queue[float] = asyncio.Queue()
        self.thread = ""

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """Ask, and return the result."""
        id = next(self._ids)
        answer = self._answers[id] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": id, "method": method, "params": params}))
        return await asyncio.wait_for(answer, PATIENCE_S)

    async def join(self) -> None:
        """Shake hands and subscribe to the one thread there is."""
        client = {"name": "bench", "title": "Bench", "version": "1"}
        await self.call("initialize", {"clientInfo": client, "capabilities": {"experimentalApi": True}})
        await self._socket.send(json.dumps({"method": "initialized"}))
        (self.thread,) = (await self.call("thread/loaded/list", {}))["data"]
        await self.call("thread/resume", {"threadId": self.thread, "excludeTurns": True})

    async def read(self) -> None:
        """Take what the server tells."""
        async for data in self._socket:
            at, message = time.perf_counter(), json.loads(data)
            if "method" not in message:
                self._answers.pop(message["id"]).set_result(message.get("result"))
            elif message["method"] == "item/started" and message["params"]["item"]["type"] == "userMessage":
                self.items.put_nowait(at)
            elif message["method"] == "turn/completed":
                self.ends.put_nowait(at)


@contextlib.asynccontextmanager
async def observing(socket: Path) -> AsyncIterator[Observer]:
    """Connect to the app-server at `socket`."""
    from websockets.asyncio.client import unix_connect

    async with (
        unix_connect(os.path.realpath(socket), "ws://localhost/", compression=None, max_size=None) as connection,
        asyncio.TaskGroup() as group,
    ):
        observer = Observer(connection)
        reading = group.create_task(observer.read())
        await observer.join()
        yield observer
        reading.cancel()


async def _compare(channel: str, observer: Observer, relay: HttpRelay, rounds: int) -> Figures:
    ours, bare = [], []
    for number in range(rounds + WARM_UP):
        record = await relay.send(NewMessage(to="bench", body=f"SAY:round {number}"))
        accepted = time.perf_counter()
        took = await _item(observer) - accepted
        async for now in relay.watch(record.message.id):
            if now.deliveries[0].state is State.DONE:
                break
        await asyncio.sleep(PAUSE_S)
        text = {"type": "text", "text": f"SAY:bare {number}"}
        begin = time.perf_counter()
        params = {"threadId": observer.thread, "input": [text], "clientUserMessageId": f"bare-{number}"}
        asking = asyncio.ensure_future(observer.call("turn/start", params))
        bare_took = await _item(observer) - begin
        await asking
        await asyncio.sleep(PAUSE_S)
        if number >= WARM_UP:
            ours.append(took)
            bare.append(bare_took)
    return Figures(
        channel=channel,
        delivery_p50_ms=_ms(statistics.median(ours)),
        bare_p50_ms=_ms(statistics.median(bare)),
        p50_ratio=round(statistics.median(ours) / statistics.median(bare), 2),
        delivery_p99_ms=_ms(_p99(ours)),
        bare_p99_ms=_ms(_p99(bare)),
        p99_ratio=round(_p99(ours) / _p99(bare), 2),
        rounds=rounds,
    )


async def _item(observer: Observer) -> float:
    """Return when the next userMessage item was told, after its turn ended."""
    async with asyncio.timeout(PATIENCE_S):
        at = await observer.items.get()
        await observer.ends.get()
    return at


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[-1]


async def _measured(place: Home, rounds: int) -> list[Figures]:
    file = json.loads((place.state / "relay.json").read_text())
    async with (
        HttpRelay.at(file["url"], file["operatorToken"]) as operator,
        observing(place.state / "agents" / "bench" / launch.SOCKET) as observer,
    ):
        grant = await operator.issue_token(TokenRequest(subject="agent:peer", scopes=("agent:peer", "send")))
        async with HttpRelay.at(file["url"], grant.token) as peer:
            return [
                await _compare("another agent's", observer, peer, rounds),
                await _compare("an operator's", observer, operator, rounds),
            ]


def measure(rounds: int = ROUNDS) -> list[Figures]:
    """Measure both kinds of message on the real Codex."""
    with (
        tempfile.TemporaryDirectory(prefix="rrb") as folder,
        FakeResponses() as model,
        home(Path(folder), codex_environ(codex_home(Path(folder) / "user", model))) as place,
    ):
        place.start("bench", "codex")
        return asyncio.run(_measured(place, rounds))
