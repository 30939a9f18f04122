import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay_runner.errors import RelayUnauthorized, RelayUnavailable
from relay_runner.log import Repeats
from relay_runner.protocol.agents import AgentState
from relay_runner.protocol.frames import Hello
from relay_runner.providers.base import ProcessState
from relay_runner.relay.base import Bus
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.journal import Journal
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


class _Shaky(MemoryRelay):
    """A relay that refuses the first connections, and whose bus can be cut."""

    def __init__(self, relay: MemoryRelay, *errors: Exception) -> None:
        super().__init__(relay.hub)
        self.use_token(relay._token)
        self.errors = list(errors)
        self.hellos = 0
        self.cut = asyncio.Event()

    @asynccontextmanager
    async def connect(self, hello: Hello) -> AsyncIterator[Bus]:  # type: ignore[override]
        self.hellos += 1
        if self.errors:
            raise self.errors.pop(0)
        async with super().connect(hello) as bus:
            yield _Cut(bus, self.cut)


class _Cut:
    def __init__(self, bus: Bus, cut: asyncio.Event) -> None:
        self._bus = bus
        self._cut = cut
        self.welcome = bus.welcome
        self.send = bus.send

    async def __aiter__(self) -> AsyncIterator[object]:  # type: ignore[misc]
        frames = aiter(self._bus)
        while True:
            frame = asyncio.ensure_future(anext(frames))
            cut = asyncio.ensure_future(self._cut.wait())
            done, _ = await asyncio.wait({frame, cut}, return_when=asyncio.FIRST_COMPLETED)
            if cut in done:
                frame.cancel()
                self._cut.clear()
                raise RelayUnavailable("cut")
            cut.cancel()
            yield frame.result()


def _shaky(desk: Desk, *errors: Exception) -> _Shaky:
    relay = _Shaky(desk.relay, *errors)
    desk.presence._relay = relay
    return relay


async def test_it_connects_again_until_the_relay_is_there(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    relay = _shaky(desk, RelayUnavailable("not yet"), RelayUnavailable("not yet"))
    async with desk.running():
        assert relay.hellos == 3 and desk.presence.connected


async def test_a_wrong_token_does_not_end_it(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_runner.runner.presence.REFUSED_RETRY_S", 0.01)
    desk = Desk(journal, MemoryRelay())
    relay = _shaky(desk, RelayUnauthorized("expired"), RelayUnauthorized("expired"))
    async with desk.running():
        assert relay.hellos == 3


async def test_a_cut_bus_comes_back_and_brings_what_was_missed(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    relay = _shaky(desk)
    async with desk.running():
        relay.errors = [RelayUnavailable("gone")]
        relay.cut.set()
        await until(lambda: not desk.presence.connected)
        id = await desk.send("in between")
        assert (await desk.process.until(1))[0].message.id == id
        assert relay.hellos >= 2 and not desk.superseded


async def test_others_see_the_status_as_it_changes(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        for state, seen in ((ProcessState.BUSY, AgentState.BUSY), (ProcessState.IDLE, AgentState.IDLE)):
            desk.work.provider(state)
            desk.presence.publish()

            async def published(seen: AgentState = seen) -> bool:
                return (await desk.operator.agent("bob")).status.agent_status is seen

            await until(published)


async def test_what_is_learnt_reaches_the_relay_at_once(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        desk.meta["model"] = "learnt later"
        desk.presence.publish()

        async def told() -> bool:
            return (await desk.operator.agent("bob")).meta.get("model") == "learnt later"

        await until(told)


async def test_the_backstop_finds_what_a_silent_bus_did_not_bring(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_runner.runner.presence.POLL_S", 0.05)
    desk = Desk(journal, MemoryRelay())
    monkeypatch.setattr(desk.presence, "_on_frame", lambda frame: None)
    async with desk.running(), asyncio.TaskGroup() as group:
        backstop = group.create_task(desk.presence.backstop())
        id = await desk.send()
        assert (await desk.process.until(1))[0].message.id == id
        backstop.cancel()


async def test_a_large_backlog_is_read_page_by_page(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_runner.runner.presence.PAGE", 3)
    operator = MemoryRelay()
    async with Desk(journal, operator).running(None):
        pass
    desk = Desk(journal, operator, instance_id="i2")
    ids = [await desk.send(str(n)) for n in range(10)]
    async with desk.running(None):
        assert desk.inbox.queued == len(ids)


async def test_being_superseded_ends_it_for_good(journal: Journal, tmp_path: Path) -> None:
    operator = MemoryRelay()
    old = Desk(journal, operator)
    async with old.running(None):
        with Journal(tmp_path / "new.db") as other:
            async with Desk(other, operator, instance_id="i2").running(None):
                await until(lambda: bool(old.superseded))
                await until(lambda: not old.presence.connected)


async def test_what_is_announced_is_there_when_it_returns(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        for action in ("restarting", "shutting-down"):
            desk.work.lifecycle = action
            await desk.presence.announce()
            status = (await desk.operator.agent("bob")).status
            assert (status.lifecycle_action, status.ready) == (action, False)


async def test_a_relay_that_is_away_holds_no_announcement_up(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with asyncio.timeout(5):
        await desk.presence.announce()
    async with desk.running():
        desk.presence.connected = False
        await desk.presence.announce()


async def test_many_redials_and_new_tokens_are_heard_wherever_it_stands(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    relay = _shaky(desk)
    async with desk.running():
        for _ in range(5):
            before = relay.hellos
            desk.presence.new_token()
            await until(lambda before=before: relay.hellos > before and desk.presence.connected)


async def test_a_refusal_asks_for_another_token_and_goes_on_with_it(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    healed = 0

    async def heal() -> None:
        nonlocal healed
        healed += 1
        desk.presence.new_token()

    desk.presence._heal = heal
    relay = _shaky(desk, RelayUnauthorized("expired"))
    async with desk.running():
        assert (healed, relay.hellos) == (1, 2)
        kinds = [event.kind for event in desk.work.timeline.waiting]
        assert kinds == ["transport-unauthorized", "transport-connected"]


async def test_a_missing_scope_is_not_a_case_for_another_token(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_runner.runner.presence.REFUSED_RETRY_S", 0.01)
    desk = Desk(journal, MemoryRelay())

    async def heal() -> None:
        raise AssertionError("nothing to heal")

    desk.presence._heal = heal
    _shaky(desk, RelayUnauthorized("lacks the scope", status=403))
    async with desk.running():
        assert desk.presence.connected


async def test_a_relay_that_stays_away_is_said_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("relay_runner.runner.presence.RECONNECT_FIRST_S", 0.001)
    repeats = Repeats()
    desk = Desk(journal, MemoryRelay())
    _shaky(desk, *(RelayUnavailable("not yet") for _ in range(6)))
    async with desk.running():
        warned = [record for record in caplog.records if record.levelname == "WARNING"]
        assert len(warned) == 6 and [repeats.filter(record) for record in warned] == [True, *[False] * 5]
