"""Relays to run one suite over: in memory, and the embedded one behind HTTP, both with a clock that tests turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from relay_runner.http_limits import Limits
from relay_runner.protocol.access import Caller
from relay_runner.protocol.agents import AgentState, Status
from relay_runner.protocol.frames import Hello, ServerFrame
from relay_runner.protocol.messages import ClaimRequest, Outcome, Receipt, Release, State
from relay_runner.protocol.tokens import ADMIN, OPERATOR, SEND, TokenRequest, agent_scope
from relay_runner.relay.base import Bus, Relay
from relay_runner.relay.http import HttpRelay
from relay_runner.relay.memory.relay import Hub, MemoryRelay
from relay_runner.server.app import build
from relay_runner.server.core import Core
from relay_runner.server.serve import Server, bind, server_config
from relay_runner.server.store.sqlite import SqliteStore

WAIT_S = 20.0
ACCEPT_ROUNDS = 10

F = TypeVar("F", bound=ServerFrame)


class Clock:
    """Tells the time that a test sets; it begins now."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """One relay and a way to be anybody on it."""

    clock: Clock
    operator: Relay
    be: Callable[[str, tuple[str, ...]], Awaitable[Relay]]
    """Return the relay as that principal with those scopes sees it."""
    sweep: Callable[[], Awaitable[Any]]
    """Do now what is due by the clock."""
    tidy: Callable[[], Awaitable[Any]]
    """Forget now what is too old."""
    limit: Callable[[int], None]
    """Set the most bytes that an attachment may have."""
    kind: str = "memory"
    core: Core | None = None
    url: str = ""

    async def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds
        await self.sweep()

    async def agent(self, agent_id: str) -> Relay:
        """Return the relay as an agent's runner sees it."""
        return await self.be(f"agent:{agent_id}", (agent_scope(agent_id), SEND))

    async def person(self, login: str) -> Relay:
        """Return the relay as a person without rights over others sees it."""
        return await self.be(f"person:{login}", (SEND,))


@dataclass
class Seat:
    """An agent's runner: its relay, its open bus, and shorthands for what it reports."""

    agent_id: str
    instance_id: str
    relay: Relay
    bus: Bus
    _frames: AsyncIterator[ServerFrame] = field(init=False)

    def __post_init__(self) -> None:
        self._frames = aiter(self.bus)

    async def next(self, type_: type[F]) -> F:
        """Return the next frame of one type; others are passed over."""
        async with asyncio.timeout(WAIT_S):
            while True:
                frame = await anext(self._frames)
                if isinstance(frame, type_):
                    return frame

    async def ended(self) -> Exception:
        """Return what the bus raises at its end."""
        try:
            async with asyncio.timeout(WAIT_S):
                async for _ in self._frames:
                    continue
        except TimeoutError:
            raise
        except Exception as error:
            return error
        raise AssertionError("the bus ended without an error")

    def request(self, **more: Any) -> ClaimRequest:
        """Return a claim of this instance."""
        return ClaimRequest(agent_id=self.agent_id, instance_id=self.instance_id, **more)

    def receipt(self, state: State, attempt: int = 1, **more: Any) -> Receipt:
        """Return a report of this instance, with what the state needs."""
        if state is State.SEEN:
            more.setdefault("evidence", "hook")
        if state is State.DONE:
            more.setdefault("outcome", Outcome.COMPLETED)
        return Receipt(agent_id=self.agent_id, instance_id=self.instance_id, attempt=attempt, state=state, **more)

    def release(self, attempt: int = 1, **more: Any) -> Release:
        """Return a claim given back by this instance."""
        more.setdefault("reason", "not now")
        return Release(agent_id=self.agent_id, instance_id=self.instance_id, attempt=attempt, **more)


def hello(agent_id: str, instance_id: str = "one", **more: Any) -> Hello:
    """Return a runner's first frame."""
    more.setdefault("status", Status(agent_status=AgentState.IDLE, ready=True))
    return Hello(
        agent_id=agent_id,
        instance_id=instance_id,
        runner_id=f"runner-{agent_id}",
        provider="demo",
        machine="here",
        version="0",
        **more,
    )


@asynccontextmanager
async def seat(world: World, agent_id: str, instance_id: str = "one", **more: Any) -> AsyncIterator[Seat]:
    """Connect an agent's runner."""
    relay = await world.agent(agent_id)
    async with relay, relay.connect(hello(agent_id, instance_id, **more)) as bus:
        yield Seat(agent_id, instance_id, relay, bus)


async def gone(world: World, agent_id: str) -> Relay:
    """Wait until the relay knows that an agent's bus is closed; return the relay as its runner then has it."""
    async with asyncio.timeout(WAIT_S):
        while (await world.operator.agent(agent_id)).connected:  # noqa: ASYNC110 - the store is told last
            await asyncio.sleep(0.005)
    return await world.agent(agent_id)


@asynccontextmanager
async def served(
    path: Path,
    clock: Callable[[], float] = time.time,
    steady: Callable[[], float] | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[tuple[Core, str]]:
    """Run the embedded relay in this event loop, on a free port."""
    core = Core(SqliteStore(path, clock, steady), clock)
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = Server(server_config(build(core), limits))
    up = asyncio.Event()

    async def announce() -> None:
        up.set()

    async with core.running(), asyncio.TaskGroup() as group:
        group.create_task(server.run_on([listener], announce))
        try:
            async with asyncio.timeout(WAIT_S):
                await up.wait()
            yield core, url
        finally:
            await accepted()
            core.closing.set()
            server.should_exit = True


async def accepted() -> None:
    """Let a server of this event loop take every connection that was made to it, before it is closed.

    Python 3.11 leaks a connection that it accepts in the same round of the loop in which its server is closed.
    """
    for _ in range(ACCEPT_ROUNDS):
        await asyncio.sleep(0)


@asynccontextmanager
async def memory_world(_folder: Path) -> AsyncIterator[World]:
    """Make a relay in memory."""
    clock = Clock()
    hub = Hub(clock)

    async def be(subject: str, scopes: tuple[str, ...]) -> Relay:
        return MemoryRelay(hub, Caller(subject, frozenset(scopes)))

    async def sweep() -> None:
        hub.sweep()

    async def tidy() -> None:
        hub.tidy()

    def limit(size: int) -> None:
        hub.files.limit = size

    yield World(clock, await be("person:op", (SEND, OPERATOR, ADMIN)), be, sweep, tidy, limit)


@asynccontextmanager
async def http_world(folder: Path) -> AsyncIterator[World]:
    """Make the embedded relay, and clients that reach it over HTTP."""
    clock = Clock()
    async with served(folder / "relay.db", clock) as (core, url):

        async def be(subject: str, scopes: tuple[str, ...]) -> Relay:
            request = TokenRequest(subject=subject, scopes=scopes, ttl_s=30 * 24 * 3600.0)
            grant = await core.tokens.mint(request)
            return HttpRelay.at(url, grant.token)

        def limit(size: int) -> None:
            core.store.files.limit = size

        async with await be("person:op", (SEND, OPERATOR, ADMIN)) as operator:
            yield World(clock, operator, be, core.store.sweep, core.store.tidy, limit, "http", core, url)


WORLDS = {"memory": memory_world, "http": http_world}
