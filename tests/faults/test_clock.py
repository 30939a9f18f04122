"""A whole runner over a real relay whose wall clock jumps while a turn runs.

So does that of a laptop that slept, of a VM that was paused, and of a machine that NTP or a person sets.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay_runner.errors import RelayUnavailable
from relay_runner.protocol.messages import LEASE_S, Delivery, NewMessage, Outcome, State
from relay_runner.providers.base import ProcessState, Seen, StateChanged, TurnEnded
from tests.faults.test_tokens import Stage, staged
from tests.terminals import until

pytestmark = pytest.mark.anyio


async def delivery_of(stage: Stage, message_id: int) -> Delivery:
    (delivery,) = (await stage.operator.message(message_id)).deliveries
    return delivery


@contextlib.asynccontextmanager
async def no_bus(hello: object) -> AsyncIterator[None]:
    raise RelayUnavailable("a proxy lets no WebSocket through")
    yield


@pytest.mark.parametrize("jump", [LEASE_S + 400.0, -LEASE_S - 400.0])
@pytest.mark.parametrize("bus", [True, False])
async def test_a_turn_that_runs_over_a_jump_of_the_clock_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float, bus: bool
) -> None:
    ahead = [0.0]
    async with (
        staged(tmp_path, lambda: time.time() + ahead[0], time.monotonic) as stage,
        stage.running(await stage.token()) as runner,
    ):
        if not bus:
            monkeypatch.setattr(runner._relay, "connect", no_bus)
            runner._presence.redial()

            async def gone() -> bool:
                return not (await stage.operator.agent("bob")).connected

            await until(gone)
        id = (await stage.operator.send(NewMessage(to="bob", body="a long turn"))).message.id
        await runner._presence.fetch_backlog()
        process = stage.provider.processes[-1]
        (submission,) = await process.until(1)
        process.emit(StateChanged(ProcessState.BUSY, "script"))
        process.emit(Seen(submission.nonce, "script"))

        async def seen() -> bool:
            return (await delivery_of(stage, id)).state is State.SEEN

        await until(seen)
        before = await delivery_of(stage, id)
        ahead[0] = jump
        assert (await delivery_of(stage, id)).state is State.SEEN, "nothing was swept yet"
        await stage.core.store.sweep()
        after = await delivery_of(stage, id)
        assert (after.state, after.attempt) == (State.SEEN, before.attempt)
        assert after.claim_expires_at is not None and before.claim_expires_at is not None
        assert after.claim_expires_at - before.claim_expires_at == pytest.approx(jump, abs=1.0)
        await runner._delivering.claims._relay.renew(id, runner._delivering.claims.request(after.attempt))
        process.emit(TurnEnded(Outcome.COMPLETED, "script", nonces=(submission.nonce,), result="done"))

        async def done() -> bool:
            return (await delivery_of(stage, id)).state is State.DONE

        await until(done)
        end = await delivery_of(stage, id)
        assert (end.outcome, end.result, end.reason) == (Outcome.COMPLETED, "done", None)


@pytest.mark.parametrize("jump", [LEASE_S + 400.0, -LEASE_S - 400.0])
async def test_a_message_on_its_way_in_is_not_given_up_for_a_jump_of_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """The clock of the whole machine jumps, between the submission and the proof of it."""
    wall = time.time
    async with staged(tmp_path, lambda: time.time(), time.monotonic) as stage, stage.running(await stage.token()):
        id = (await stage.operator.send(NewMessage(to="bob", body="hello"))).message.id
        process = stage.provider.processes[-1]
        (submission,) = await process.until(1)

        async def submitted() -> bool:
            return (await delivery_of(stage, id)).state is State.SUBMITTED

        await until(submitted)
        monkeypatch.setattr(time, "time", lambda: wall() + jump)
        for _ in range(3):
            process.becomes(ProcessState.IDLE)
            await delivery_of(stage, id)
        process.emit(Seen(submission.nonce, "script"))
        process.emit(TurnEnded(Outcome.COMPLETED, "script", (submission.nonce,), "done"))

        async def done() -> bool:
            return (await delivery_of(stage, id)).state is State.DONE

        await until(done)
        told = [event.data for event in await stage.core.store.events_after(0, 1000) if event.type == "delivery"]
        assert [one["state"] for one in told if one["messageId"] == id][-1] == "done"
        assert "unknown" not in {one["state"] for one in told}
