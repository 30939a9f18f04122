import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay_runner.errors import ClaimLost, RelayUnauthorized
from relay_runner.protocol.messages import LEASE_S, ClaimRequest, State
from relay_runner.relay.memory.hub import Hub
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.claims import RENEW_AT, Claims, ClaimTable
from relay_runner.runner.journal import Journal
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


def test_a_claim_is_renewed_at_a_third_of_its_lease() -> None:
    table = ClaimTable(lease_s=900.0)
    table.hold(1, 1, now=1000.0)
    (claim,) = table.held()
    assert claim.renew_at == 1300.0


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 1e6)), min_size=1))
def test_the_next_renewal_comes_first(holds: list[tuple[int, float]]) -> None:
    table = ClaimTable()
    for message_id, now in holds:
        table.hold(message_id, 1, now)
    times = [claim.renew_at for claim in table.held()]
    assert times == sorted(times)
    assert len(times) == len({message_id for message_id, _ in holds})


class _Table(RuleBasedStateMachine):
    """Whatever happens, what is held was held or postponed and not dropped since."""

    def __init__(self) -> None:
        super().__init__()
        self.table = ClaimTable(lease_s=30.0)
        self.model: dict[int, float] = {}

    @rule(id=st.integers(1, 4), now=st.floats(0, 100))
    def hold(self, id: int, now: float) -> None:
        self.table.hold(id, 1, now)
        self.model[id] = now + 30.0 * RENEW_AT

    @rule(id=st.integers(1, 4))
    def drop(self, id: int) -> None:
        self.table.drop(id)
        self.model.pop(id, None)

    @rule(id=st.integers(1, 4), attempt=st.integers(1, 2))
    def drop_that_of(self, id: int, attempt: int) -> None:
        self.table.drop(id, attempt)
        if attempt == 1:  # the one that `hold` holds
            self.model.pop(id, None)

    @rule(id=st.integers(1, 4), until=st.floats(0, 200))
    def postpone(self, id: int, until: float) -> None:
        self.table.postpone(id, until)
        if id in self.model:
            self.model[id] = until

    @invariant()
    def same(self) -> None:
        assert {claim.message_id: claim.renew_at for claim in self.table.held()} == self.model


TestTable = _Table.TestCase


async def test_a_delivery_in_the_provider_keeps_its_claim(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay(), lease_s=0.3)
    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await desk.reaches(id, State.SEEN)
        leases = set()

        async def renewed_twice() -> bool:
            leases.add((await desk.delivery(id)).claim_expires_at)
            return len(leases) > 2

        await until(renewed_twice)
        assert (await desk.delivery(id)).state is State.SEEN


async def test_not_9_a_refused_renewal_fences_the_work(journal: Journal, tmp_path: Path) -> None:
    """Mistake 9: a refused renewal ignored."""
    operator = MemoryRelay()
    desk = Desk(journal, operator, lease_s=0.3)
    lost: list[int] = []
    fence = desk.claims.on_lost

    def note(message_id: int) -> None:
        lost.append(message_id)
        fence(message_id)

    desk.claims.on_lost = note
    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await desk.reaches(id, State.SEEN)
        with Journal(tmp_path / "other.db") as other:
            async with Desk(other, operator, instance_id="i2").running(None):
                await until(lambda: lost == [id])
                desk.ends(submission, result="too late")
                assert journal.outbox() == []
                assert (await desk.delivery(id)).result is None


@pytest.mark.parametrize("granted_anew", [True, False])
@pytest.mark.parametrize("error", [ClaimLost("nobody holds it"), None])
async def test_an_answer_that_comes_after_the_end_of_a_claim_changes_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, error: Exception | None, granted_anew: bool
) -> None:
    desk = Desk(journal, MemoryRelay())
    lost: list[int] = []
    desk.claims.on_lost = lost.append

    async def late(message_id: int, request: ClaimRequest) -> float:
        desk.claims.drop(id)
        if granted_anew:
            desk.claims.hold(id, 2)
        if error is not None:
            raise error
        return 0.0

    async with desk.running(None):
        id = await desk.send()
        monkeypatch.setattr(desk.relay, "renew", late)
        desk.claims.hold(id, 1)
        await desk.claims._renew(desk.claims.held()[0])
    assert lost == []
    assert [claim.attempt for claim in desk.claims.held()] == ([2] if granted_anew else [])


async def test_a_lease_that_only_ran_out_does_not_silence_the_end_of_the_turn(journal: Journal) -> None:
    """The relay was alone with its clock: the bus broke, and came back after the end of the lease."""
    slept = [0.0]
    desk = Desk(journal, MemoryRelay(Hub(lambda: time.time() + slept[0])), lease_s=3600.0)
    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await desk.reaches(id, State.SEEN)
        slept[0] = 3601.0
        member = desk.operator.hub.members.all["bob"]
        frames, member.frames = member.frames, None
        desk.operator.hub.sweep()
        member.frames = frames
        assert (await desk.delivery(id)).state is State.UNKNOWN
        await desk.claims._renew(desk.claims.held()[0])
        desk.ends(submission, result="worth the wait")
        assert (await desk.reaches(id, State.DONE)).result == "worth the wait"


async def test_a_refused_token_at_a_renewal_loses_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(journal, MemoryRelay())
    lost: list[int] = []
    desk.claims.on_lost = lost.append

    async def refuse(message_id: int, request: ClaimRequest) -> float:
        raise RelayUnauthorized("the token has expired")

    async with desk.running():
        id = await desk.send()
        (submission,) = await desk.process.until(1)
        desk.sees(submission)
        await desk.reaches(id, State.SEEN)
        monkeypatch.setattr(desk.relay, "renew", refuse)
        await desk.claims._renew(desk.claims.held()[0])
        assert lost == [] and [claim.message_id for claim in desk.claims.held()] == [id]


def test_what_is_asked_carries_the_lease(journal: Journal) -> None:
    claims = Claims(MemoryRelay(), "bob", "i1", lease_s=60.0)
    assert claims.request(3) == ClaimRequest(agent_id="bob", instance_id="i1", attempt=3, lease_s=60.0)


class _Renewed(MemoryRelay):
    """Notes what is renewed."""

    def __init__(self) -> None:
        super().__init__()
        self.renewed: asyncio.Queue[int] = asyncio.Queue()

    async def renew(self, message_id: int, request: ClaimRequest) -> float:
        self.renewed.put_nowait(message_id)
        return 0.0


@contextlib.asynccontextmanager
async def renewing(clocks: list[float]) -> AsyncIterator[tuple[Claims, _Renewed]]:
    """Run claims that go by these two clocks, the wall's and the steady one."""
    relay = _Renewed()
    claims = Claims(relay, "bob", "i1", wall=lambda: clocks[0], steady=lambda: clocks[1])
    async with asyncio.TaskGroup() as group:
        running = group.create_task(claims.run())
        yield claims, relay
        running.cancel()


async def test_everything_is_renewed_at_once_after_a_sleep() -> None:
    clocks = [1000.0, 1000.0]
    async with renewing(clocks) as (claims, relay), asyncio.timeout(10):
        for id in (1, 2):
            claims.hold(id, 1)
        clocks[0] += 1300.0
        claims._changed.set()  # or MAX_SLEEP_S later
        assert {await relay.renewed.get() for _ in range(2)} == {1, 2}
        clocks[0] += 1.0
        claims._changed.set()
        await asyncio.sleep(0)
        assert relay.renewed.empty()


async def test_a_clock_that_was_set_back_delays_no_renewal() -> None:
    clocks = [1000.0, 1000.0]
    async with renewing(clocks) as (claims, relay), asyncio.timeout(10):
        claims.hold(1, 1)
        clocks[0] -= 1e6
        clocks[1] += LEASE_S * RENEW_AT
        claims._changed.set()
        assert await relay.renewed.get() == 1


async def test_the_relay_says_how_long_a_lease_is_unless_it_was_asked_for(journal: Journal) -> None:
    claims = Claims(MemoryRelay(), "bob", "i1", steady=lambda: 0.0)
    assert claims.request().lease_s is None
    claims.granted(30.0)
    claims.hold(1, 1)
    assert claims.held()[0].renew_at == 30.0 * RENEW_AT
    asked = Claims(MemoryRelay(), "bob", "i1", lease_s=60.0, steady=lambda: 0.0)
    asked.granted(30.0)
    asked.hold(1, 1)
    assert asked.held()[0].renew_at == 60.0 * RENEW_AT
