import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.errors import ProtocolError, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.tokens import TokenGrant
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.credentials import JITTER_S, MAX_LEAD_S, Credentials, TokenSchedule


@pytest.mark.parametrize(("life_s", "lead_s"), [(24 * 3600.0, 3600.0), (3600.0, 720.0), (600.0, 120.0), (200.0, 60.0)])
def test_the_lead_is_a_fifth_of_the_life_between_a_minute_and_an_hour(life_s: float, lead_s: float) -> None:
    assert TokenSchedule(1000.0, 1000.0 + life_s).renew_at() == 1000.0 + life_s - lead_s


@given(st.floats(0.5, 1e7), st.floats(0, JITTER_S))
def test_a_renewal_is_always_within_the_second_half_of_the_life(life_s: float, jitter: float) -> None:
    schedule = TokenSchedule(0.0, life_s)
    at = schedule.renew_at(jitter)
    assert life_s / 2 <= at <= life_s
    assert life_s - at <= MAX_LEAD_S + jitter + 1e-6


def test_a_short_token_does_not_make_a_hot_loop() -> None:
    assert TokenSchedule(0.0, 60.0).renew_at(30.0) == 30.0


class _Office(MemoryRelay):
    """A relay whose renewals answer what the test says."""

    answers: list[TokenGrant | Exception]

    async def renew_token(self) -> TokenGrant:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _grant(jti: str, *, life_s: float = 0.0) -> TokenGrant:
    now = time.time()
    return TokenGrant(
        token=f"token-{jti}", jti=jti, profile_id="provider-agent", subject="agent:bob", scopes=(),
        issued_at=now - 1.0, expires_at=now + life_s,
    )  # fmt: skip


async def _renewed(answers: list[TokenGrant | Exception], reissued: TokenGrant | None = None) -> TokenGrant:
    """Run the service on a token that is due, until it has another one."""
    office = _Office()
    office.answers = answers
    used: list[str] = []
    office.use_token = used.append  # type: ignore[method-assign]
    got: asyncio.Future[TokenGrant] = asyncio.get_running_loop().create_future()

    async def reissue() -> TokenGrant:
        assert reissued is not None
        return reissued

    credentials = Credentials(office, _grant("old"), got.set_result, reissue if reissued else None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(credentials.run())
        grant = await asyncio.wait_for(got, 10)
        task.cancel()
    assert used == [grant.token]
    return grant


@pytest.mark.anyio
async def test_a_token_that_is_due_is_renewed_and_used_at_once() -> None:
    assert (await _renewed([_grant("new", life_s=3600.0)])).jti == "new"


@pytest.mark.anyio
@pytest.mark.parametrize("error", [RelayUnavailable("away"), ProtocolError("a proxy's page")])
async def test_a_renewal_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr("relay_runner.runner.credentials.RETRY_S", 0.01)
    monkeypatch.setattr("relay_runner.runner.credentials.JITTER_S", 0.0)
    assert (await _renewed([error, _grant("new", life_s=3600.0)])).jti == "new"


@pytest.mark.anyio
async def test_a_token_that_expired_during_a_long_sleep_is_made_anew() -> None:
    grant = await _renewed([RelayUnauthorized("the token has expired")], _grant("made anew", life_s=3600.0))
    assert grant.jti == "made anew"
