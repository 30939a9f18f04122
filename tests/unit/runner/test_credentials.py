"""When a token is renewed, by the constant, and what happens to one that the relay refuses."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.errors import ConfigError, ProtocolError, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.tokens import TokenGrant, TokenInfo
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner import credentials
from relay_runner.runner.credentials import JITTER_S, MAX_LEAD_S, MIN_LEAD_S, RETRY_S, Credentials, TokenSchedule
from relay_runner.runner.timeline import Timeline
from relay_runner.runner.work import Work
from tests.terminals import until


@pytest.mark.parametrize(("life_s", "lead_s"), [(24 * 3600.0, 3600.0), (3600.0, 720.0), (600.0, 120.0), (200.0, 60.0)])
def test_the_lead_is_a_fifth_of_the_life_between_a_minute_and_an_hour(life_s: float, lead_s: float) -> None:
    assert TokenSchedule(1000.0, 1000.0 + life_s).renew_at() == 1000.0 + life_s - lead_s


@given(st.floats(0.5, 1e7), st.floats(0, JITTER_S))
def test_a_renewal_is_always_within_the_second_half_of_the_life(life_s: float, jitter: float) -> None:
    schedule = TokenSchedule(0.0, life_s)
    at = schedule.renew_at(jitter)
    assert life_s / 2 <= at <= life_s
    assert life_s - at <= MAX_LEAD_S + jitter + 1e-6


@given(st.floats(1.0, 1e6), st.floats(0, JITTER_S), st.floats(0, JITTER_S))
def test_jitter_only_makes_it_earlier(life_s: float, one: float, two: float) -> None:
    early, late = sorted((one, two), reverse=True)
    schedule = TokenSchedule(0.0, life_s)
    assert schedule.renew_at(early) <= schedule.renew_at(late)


def test_not_3_a_short_token_does_not_make_a_hot_loop() -> None:
    assert TokenSchedule(0.0, 60.0).renew_at(30.0) == 30.0


@given(st.floats(2.0, 1e6), st.floats(0, JITTER_S), st.floats(-1e7, 1e7))
def test_two_clocks_that_differ_make_no_hot_loop(life_s: float, jitter: float, ahead_s: float) -> None:
    received_at = ahead_s  # the relay made it at 0, by its own clock
    at = TokenSchedule(0.0, life_s, received_at).renew_at(jitter)
    assert at - received_at >= min(life_s / 2, MIN_LEAD_S) - 1e-6


@given(st.floats(2.0, 2e5), st.lists(st.floats(0, JITTER_S), min_size=1, max_size=30))
def test_a_chain_of_renewals_never_lets_the_token_run_out(life_s: float, jitters: list[float]) -> None:
    now = expires_at = 0.0
    for jitter in jitters:
        expires_at = now + life_s
        at = TokenSchedule(now, expires_at, now).renew_at(jitter)
        assert now + life_s / 2 - 1e-6 <= at <= expires_at
        now = at


class Clock:
    """The wall clock of a machine that may sleep."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@dataclass
class Office(MemoryRelay):
    """A relay whose renewals answer what the test says; it counts them."""

    answers: list[TokenGrant | Exception] = field(default_factory=list)
    asked: int = 0
    used: list[str] = field(default_factory=list)
    known: bool = True

    def __post_init__(self) -> None:
        super().__init__()

    async def renew_token(self) -> TokenGrant:
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def who_am_i(self) -> TokenInfo:
        self.asked += 1
        if not self.known:
            raise RelayUnauthorized("still not")
        return TokenInfo(jti="old", profile_id="person", subject="x", scopes=(), issued_at=0.0, expires_at=1.0)

    def use_token(self, token: str) -> None:
        self.used.append(token)


CLOCK = Clock()


def _grant(jti: str, *, left_s: float = 0.0, life_s: float = 3600.0, **more: str) -> TokenGrant:
    values = {"profile_id": "provider-agent", "subject": "agent:bob", **more}
    expires_at = CLOCK.now + left_s
    return TokenGrant(
        token=f"token-{jti}", jti=jti, scopes=(), issued_at=expires_at - life_s, expires_at=expires_at, **values
    )


@dataclass
class Place:
    """Credentials with everything around them."""

    office: Office
    work: Work
    credentials: Credentials
    renewed: list[str]

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.work.timeline.waiting]


Reissue = Callable[[], TokenGrant]


def _place(grant: TokenGrant, *answers: TokenGrant | Exception, reissue: Reissue | None = None) -> Place:
    office, work = Office(answers=list(answers)), Work(Timeline("i"))
    renewed: list[str] = []

    async def make() -> TokenGrant:
        assert reissue is not None
        return reissue()

    made = Credentials(
        office, grant, agent_id="bob", work=work, clock=CLOCK,
        on_renewed=lambda grant: renewed.append(grant.jti), reissue=make if reissue else None,
    )  # fmt: skip
    return Place(office, work, made, renewed)


@asynccontextmanager
async def _running(place: Place) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(place.credentials.run())
        yield
        task.cancel()


@pytest.fixture(autouse=True)
def awake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the clock all the time."""
    monkeypatch.setattr(credentials, "MAX_SLEEP_S", 0.001)
    CLOCK.now = time.time()


def _lasting(jti: str) -> TokenGrant:
    return _grant(jti, left_s=3600.0)


@pytest.mark.anyio
async def test_a_token_that_is_due_is_renewed_and_used_at_once() -> None:
    place = _place(_grant("old", left_s=60.0), _lasting("new"))
    async with _running(place):
        await until(lambda: place.renewed == ["new"])
    assert place.office.used == ["token-new"] and place.kinds == ["runtime-token-renewed"]
    assert place.work.auth is not None and place.work.auth.jti == "new"


@pytest.mark.anyio
@pytest.mark.parametrize("error", [RelayUnavailable("away"), ProtocolError("a proxy's page"), ConfigError("a file")])
async def test_a_renewal_that_fails_is_told_and_tried_again_after_a_minute(error: Exception) -> None:
    place = _place(_grant("old", left_s=60.0), error, _lasting("new"))
    async with _running(place):
        await until(lambda: place.kinds == ["runtime-token-renewal-failed"])
        CLOCK.now += RETRY_S - 1
        await asyncio.sleep(0.02)
        assert place.office.asked == 1
        CLOCK.now += 1 + JITTER_S
        await until(lambda: place.renewed == ["new"])


@pytest.mark.anyio
async def test_not_2_a_machine_that_slept_past_the_expiry_renews_when_it_wakes() -> None:
    place = _place(_grant("old", left_s=3600.0), _lasting("new"))
    async with _running(place):
        await asyncio.sleep(0.02)
        assert place.office.asked == 0
        CLOCK.now += 9 * 3600.0
        await until(lambda: place.renewed == ["new"])


@pytest.mark.anyio
async def test_a_token_that_cannot_be_renewed_any_more_is_made_anew() -> None:
    place = _place(_grant("old"), RelayUnauthorized("expired"), reissue=lambda: _lasting("made anew"))
    async with _running(place):
        await until(lambda: place.renewed == ["made anew"])


@pytest.mark.anyio
async def test_of_many_that_are_refused_at_once_one_gets_another_token_for_all() -> None:
    place = _place(_lasting("old"), _lasting("new"))
    async with _running(place):
        await asyncio.gather(*(place.credentials.heal() for _ in range(50)))
    assert place.office.asked == 1 and place.renewed == ["new"]


@pytest.mark.anyio
async def test_a_refusal_that_cannot_be_healed_is_not_asked_about_again_at_once() -> None:
    place = _place(_lasting("old"), RelayUnauthorized("revoked"), _lasting("new"))
    async with _running(place):
        await asyncio.gather(*(place.credentials.heal() for _ in range(50)))
        await place.credentials.heal()
        assert place.office.asked == 1 and place.work.auth is None
        CLOCK.now += RETRY_S + JITTER_S
        await until(lambda: place.renewed == ["new"])
        assert place.work.auth is not None


@pytest.mark.anyio
async def test_a_relay_that_refuses_what_it_just_made_is_not_asked_in_a_hot_loop() -> None:
    place = _place(_lasting("old"), _lasting("one"), _lasting("two"))
    async with _running(place):
        await place.credentials.heal()
        await place.credentials.heal()
        await asyncio.sleep(0.02)
        assert place.renewed == ["one"]
        CLOCK.now += credentials.SOONEST_S
        await until(lambda: place.renewed == ["one", "two"])


@pytest.mark.anyio
async def test_a_token_that_does_not_renew_is_waited_for_until_it_is_taken_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = _place(_grant("old", left_s=-5.0, profile_id="person", subject="person:ann"))
    place.office.known = False
    assert place.work.auth is not None and place.work.auth.root_token_fallback
    assert sum("rootTokenFallback" in record.getMessage() for record in caplog.records) == 1
    async with _running(place):
        await asyncio.sleep(0.02)
        assert place.office.asked == 0  # nobody refused it yet
        await place.credentials.heal()
        assert place.office.asked == 1 and place.renewed == []
        place.office.known = True
        CLOCK.now += RETRY_S + JITTER_S
        await until(lambda: place.renewed == ["old"])


@pytest.mark.anyio
async def test_somebody_elses_token_gives_way_to_an_own_one_where_that_can_be_had() -> None:
    borrowed = _grant("old", left_s=30.0, profile_id="relay-operator", subject="person:root")
    place = _place(borrowed, reissue=lambda: _lasting("own"))
    async with _running(place):
        await until(lambda: place.renewed == ["own"])
    assert place.work.auth is not None and not place.work.auth.root_token_fallback


@pytest.mark.anyio
async def test_a_clock_that_is_set_back_holds_no_try_up() -> None:
    place = _place(_lasting("old"), RelayUnauthorized("revoked"), _lasting("new"))
    async with _running(place):
        await place.credentials.heal()
        assert place.renewed == []
        CLOCK.now -= 24 * 3600.0
        await until(lambda: place.renewed == ["new"])
