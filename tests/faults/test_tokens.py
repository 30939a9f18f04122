"""A whole runner over a real relay whose tokens run out, are taken back, or whose line goes dead without a word."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay_runner.config import Paths
from relay_runner.errors import RelayUnauthorized
from relay_runner.protocol.agents import TransportState
from relay_runner.protocol.messages import NewMessage
from relay_runner.protocol.tokens import ADMIN, OPERATOR, SEND, TokenGrant, TokenRequest
from relay_runner.providers.base import Capabilities
from relay_runner.relay.http import HttpRelay
from relay_runner.runner import credentials, presence
from relay_runner.runner.options import RunnerOptions
from relay_runner.runner.runner import Runner
from relay_runner.server.core import Core
from tests.contract.relays import served
from tests.scripted import ScriptedProvider, ScriptedTerminals
from tests.terminals import until

pytestmark = pytest.mark.anyio
ALL = Capabilities(evidence=True, results=True, interrupt=True, resume=True)
Reissue = Callable[[], Awaitable[TokenGrant]]


class Stage:
    """A relay, an operator on it, and runners of bob."""

    def __init__(self, folder: Path, core: Core, url: str) -> None:
        self.paths = Paths(state=folder / "state", config=folder / "state")
        (folder / "state").mkdir(parents=True, exist_ok=True)
        self.core = core
        self.url = url
        self.provider = ScriptedProvider(ALL)
        self.ready = asyncio.Event()
        self.over = asyncio.Event()
        """Its runner has ended."""
        self.operator = HttpRelay.at(url, "")

    async def token(self, ttl_s: float = 3600.0) -> TokenGrant:
        return await self.core.tokens.mint(TokenRequest(subject="agent:bob", scopes=("agent:bob", SEND), ttl_s=ttl_s))

    @contextlib.asynccontextmanager
    async def running(
        self, grant: TokenGrant, *, url: str | None = None, reissue: Reissue | None = None
    ) -> AsyncIterator[Runner]:
        relay = HttpRelay.at(url or self.url, "")
        relay.use_token(grant.token)
        runner = Runner(
            RunnerOptions(agent_id="bob", provider="scripted", cwd=self.paths.state, headless=True),
            relay=relay,
            provider=self.provider,
            terminals=ScriptedTerminals(),
            paths=self.paths,
            grant=grant,
            reissue=reissue,
            on_ready=lambda info: self.ready.set(),
            environ={"PATH": "/usr/bin"},
        )

        async def live() -> None:
            await runner.run()
            self.over.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(live())
            async with asyncio.timeout(20):
                await self.ready.wait()
                await runner._joined.wait()
            yield runner
            runner.stop("the test is over")

    # --- what others see ---

    def tools(self) -> httpx.AsyncClient:
        """Return a client as a program inside the agent has it: the control server, and the local secret."""
        control = self.provider.specs[-1].control
        return httpx.AsyncClient(
            base_url=control.url, headers={"Authorization": f"Bearer {control.secret}"}, timeout=20, trust_env=False
        )

    async def status(self) -> dict[str, Any]:
        """Return what the runner itself says of the agent."""
        async with self.tools() as client:
            found: dict[str, Any] = (await client.get("/status")).json()
        return found

    async def transport(self, state: TransportState) -> None:
        """Wait until the runner says that it reaches the relay so."""

        async def look() -> bool:
            return bool((await self.status())["transport"]["state"] == state)

        await until(look)

    async def kinds(self) -> list[str]:
        """Return what the relay knows to have happened to the agent."""
        return [event.kind for event in (await self.operator.agent("bob")).status.timeline]

    async def delivers(self, body: str) -> None:
        """Send a message and wait until the provider has it."""
        before = len(self.provider.processes[-1].submissions)
        await self.operator.send(NewMessage(to="bob", body=body))
        found = await self.provider.processes[-1].until(before + 1)
        assert found[-1].message.body == body


@contextlib.asynccontextmanager
async def staged(
    folder: Path, clock: Callable[[], float] = time.time, steady: Callable[[], float] | None = None
) -> AsyncIterator[Stage]:
    async with served(folder / "relay.db", clock, steady) as (core, url):
        stage = Stage(folder, core, url)
        person = TokenRequest(subject="person:op", scopes=(SEND, OPERATOR, ADMIN), profile_id="relay-operator")
        stage.operator.use_token((await core.tokens.mint(person)).token)
        async with stage.operator:
            yield stage


async def test_not_4_the_agents_tools_go_on_while_its_token_is_renewed_again_and_again(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        before = len(await stage.operator.list_tokens())
        grant = await stage.token(ttl_s=2.0)
        async with stage.running(grant), stage.tools() as client:
            answers: list[int] = []

            async def work() -> bool:
                answers.append((await client.get("/api/v1/agents")).status_code)
                return (await stage.kinds()).count("runtime-token-renewed") >= 3

            async with asyncio.timeout(30):
                await until(work)
            assert set(answers) == {200}
            await stage.delivers("after three renewals")
            status = await stage.status()
            assert status["transport"]["state"] == "connected" and status["auth"]["jti"] != grant.jti
            # The bus was joined anew with it: only a hello says so before the next heartbeat, half a minute later.
            assert (await stage.operator.agent("bob")).meta["auth"]["jti"] != grant.jti
            assert "token" not in {key.lower() for key in status["auth"]}
        # A life of two seconds is renewed half-way, not in a hot loop.
        assert len(await stage.operator.list_tokens()) - before < 15


async def test_a_storm_of_refusals_makes_one_token_and_no_call_fails(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        made: list[str] = []

        async def reissue() -> TokenGrant:
            grant = await stage.token()
            made.append(grant.jti)
            return grant

        grant = await stage.token()
        async with stage.running(grant, reissue=reissue), stage.tools() as client:
            await stage.operator.revoke_token(grant.jti)
            answers = await asyncio.gather(*(client.get("/api/v1/agents") for _ in range(30)))
            assert [answer.status_code for answer in answers] == [200] * 30
            await stage.transport(TransportState.CONNECTED)
            await stage.delivers("after the storm")
            assert len(made) == 1


async def test_not_1_a_runner_whose_token_is_refused_is_silent_and_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "POLL_S", 0.05)
    monkeypatch.setattr(credentials, "RETRY_S", 0.5)
    monkeypatch.setattr(credentials, "JITTER_S", 0.0)
    async with staged(tmp_path) as stage:
        allowed: list[TokenGrant] = []
        asked = 0

        async def reissue() -> TokenGrant:
            nonlocal asked
            asked += 1
            if not allowed:
                raise RelayUnauthorized("nobody gives one")
            return allowed.pop()

        grant = await stage.token()
        async with stage.running(grant, reissue=reissue):
            await stage.operator.revoke_token(grant.jti)
            await stage.transport(TransportState.UNAUTHORIZED)
            await until(lambda: asked == 1)
            refused = stage.core.metrics.requests[401]
            await until(lambda: asked == 3)
            # One refusal for each try to renew; the polls of that second would be twenty more.
            assert stage.core.metrics.requests[401] - refused <= 3
            async with stage.tools() as client:
                assert (await client.get("/api/v1/agents")).status_code == 401
            assert (await stage.status())["auth"] is None
            allowed.append(await stage.token())
            await stage.transport(TransportState.CONNECTED)
            await stage.delivers("again")

            async def told() -> bool:
                return {"transport-unauthorized", "runtime-token-renewal-failed", "runtime-token-renewed"} <= set(
                    await stage.kinds()
                )

            await until(told)


async def test_a_second_start_takes_the_agent_over_and_neither_spoils_the_others_token(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        shared = await stage.token(ttl_s=2.0)  # both were given the same one, and renew it by themselves
        elsewhere = Stage(tmp_path / "elsewhere", stage.core, stage.url)
        async with stage.running(shared):

            async def renewed() -> bool:
                return "runtime-token-renewed" in await stage.kinds()

            await until(renewed)
            async with elsewhere.running(shared):
                await asyncio.wait_for(stage.over.wait(), 20)  # the older one ends by itself
                await elsewhere.transport(TransportState.CONNECTED)
                before = len(elsewhere.provider.processes[-1].submissions)
                await stage.operator.send(NewMessage(to="bob", body="for the newer one"))
                await elsewhere.provider.processes[-1].until(before + 1)


class Line:
    """A proxy between a runner and its relay that can go dead: bytes are swallowed, nothing is closed."""

    def __init__(self, url: str) -> None:
        self._target = url.removeprefix("http://").split(":")
        self.dead = False
        self.connections = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[None]] = []

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                self.connections += 1
                there, back = await asyncio.open_connection(self._target[0], int(self._target[1]))
                tasks.append(group.create_task(self._carry(reader, back)))
                tasks.append(group.create_task(self._carry(there, writer)))

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            try:
                yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            finally:
                server.close()
                for task in tasks:
                    task.cancel()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        dead = False
        try:
            while data := await source.read(65536):
                dead = dead or self.dead  # a line that died once stays so
                if not dead:
                    target.write(data)
                    await target.drain()
        except OSError:
            return
        finally:
            target.close()
            with contextlib.suppress(OSError):
                await target.wait_closed()


async def test_a_bus_that_died_without_a_word_is_noticed_and_dialled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_runner.relay.bus.PING_S", 0.3)
    async with staged(tmp_path) as stage:
        line = Line(stage.url)
        async with line.open() as url, stage.running(await stage.token(), url=url):
            await stage.transport(TransportState.CONNECTED)
            line.dead = True
            await stage.transport(TransportState.RECONNECTING)
            line.dead = False
            await stage.transport(TransportState.CONNECTED)
            await stage.delivers("over the new line")


async def test_messages_come_by_http_while_only_the_bus_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "POLL_S", 0.05)
    async with staged(tmp_path) as stage, stage.running(await stage.token()) as runner:
        await stage.transport(TransportState.CONNECTED)
        broken = asyncio.Event()

        @contextlib.asynccontextmanager
        async def no_bus(hello: object) -> AsyncIterator[None]:
            broken.set()
            raise presence.RelayUnavailable("a proxy lets no WebSocket through")
            yield

        works = runner._relay.connect
        monkeypatch.setattr(runner._relay, "connect", no_bus)
        runner._presence.redial()
        await asyncio.wait_for(broken.wait(), 20)
        await stage.transport(TransportState.HTTP_ONLY)
        await stage.delivers("by the poll")
        shown = (await stage.operator.agent("bob")).status.transport
        assert shown is not None and shown.state is TransportState.HTTP_ONLY
        monkeypatch.setattr(runner._relay, "connect", works)
        await stage.transport(TransportState.CONNECTED)
