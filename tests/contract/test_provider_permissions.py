"""What every provider promises of its permissions (see `Process.answer`), on real programs in real terminals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay_runner.cli.compose import provider
from relay_runner.errors import ProviderUnsupported
from relay_runner.protocol.decisions import PERMISSION_ID
from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.permissions import Decision
from relay_runner.providers.base import Answer, PermissionAsked, PermissionClosed, ProcessState, Submission
from tests.contract.providers import CASES, Rig, Running, adopt, connected, launch, running
from tests.terminals import sockets, until

pytestmark = pytest.mark.anyio
__all__ = ["sockets"]


ASKING = [name for name in CASES if provider(name).capabilities.permissions]
"""The providers whose questions can be answered from elsewhere."""


@pytest.fixture(params=ASKING)
async def rig(request: pytest.FixtureRequest, tmp_path: Path, sockets: Path) -> AsyncIterator[Rig]:
    async with CASES[request.param](tmp_path, sockets) as opened:
        yield opened


async def asks(it: Running) -> tuple[Submission, PermissionAsked]:
    """Make it ask, and return what it asks once its dialog is up."""
    assert it.rig.ask is not None
    before = len(asked_of(it))
    one = await it.deliver(it.rig.ask)
    await until(lambda: len(asked_of(it)) > before)
    await until(lambda: it.process.state is ProcessState.WAITING)
    return one, asked_of(it)[-1]


def asked_of(it: Running) -> list[PermissionAsked]:
    return [event for event in it.events if isinstance(event, PermissionAsked)]


async def closed(it: Running, asked: PermissionAsked) -> PermissionClosed:
    return await it.event(PermissionClosed, lambda event: event.id == asked.id)


async def at_the_terminal(it: Running) -> None:
    """Say yes as the person there does."""
    if it.rig.answer is not None:
        await it.rig.answer(it)
    else:
        await it.terminal.type(it.rig.approve)


async def test_an_approval_goes_in_once(rig: Rig) -> None:
    async with running(rig) as it:
        one, asked = await asks(it)
        assert PERMISSION_ID.fullmatch(asked.id) and len(asked.id) <= 12 and "\n" not in asked.title
        assert {Decision.APPROVE, Decision.APPROVE_SESSION, Decision.DENY, Decision.ABORT} <= set(asked.decisions)
        assert await it.process.answer(asked.id, Answer(Decision.APPROVE))
        assert (await closed(it, asked)).decision in (Decision.APPROVE, None)
        assert (await it.ended(one)).outcome is Outcome.COMPLETED
        await it.process.answer(asked.id, Answer(Decision.DENY))
        assert not await it.process.answer("neverasked", Answer(Decision.DENY))
        assert len([event for event in it.events if isinstance(event, PermissionClosed)]) == 1


async def test_a_denial_is_told_to_the_model_and_the_turn_goes_on(rig: Rig) -> None:
    async with running(rig) as it:
        one, asked = await asks(it)
        assert await it.process.answer(asked.id, Answer(Decision.DENY, "use the other folder"))
        assert (await closed(it, asked)).decision in (Decision.DENY, None)
        assert (await it.ended(one)).outcome is Outcome.COMPLETED


async def test_an_abort_ends_the_turn(rig: Rig) -> None:
    async with running(rig) as it:
        one, asked = await asks(it)
        assert await it.process.answer(asked.id, Answer(Decision.ABORT, "stop it"))
        await closed(it, asked)
        assert (await it.ended(one)).outcome is Outcome.INTERRUPTED
        after = await it.deliver(rig.say("still here"))
        assert (await it.ended(after)).result == "still here"


async def test_an_approval_for_the_session_is_asked_once(rig: Rig) -> None:
    assert rig.ask is not None
    async with running(rig) as it:
        one, asked = await asks(it)
        assert await it.process.answer(asked.id, Answer(Decision.APPROVE_SESSION))
        await it.ended(one)
        again = await it.deliver(rig.ask)
        assert (await it.ended(again)).outcome is Outcome.COMPLETED
        assert asked_of(it) == [asked]


async def test_an_answer_at_the_terminal_closes_it_and_the_late_one_is_told_so(rig: Rig) -> None:
    async with running(rig) as it:
        one, asked = await asks(it)
        await at_the_terminal(it)
        assert (await closed(it, asked)).answered
        assert not await it.process.answer(asked.id, Answer(Decision.DENY))
        assert (await it.ended(one)).outcome is Outcome.COMPLETED


async def test_what_was_left_is_answered_at_the_terminal(rig: Rig) -> None:
    async with running(rig) as it:
        one, asked = await asks(it)
        await it.process.leave(asked.id)
        assert it.process.state is ProcessState.WAITING
        await at_the_terminal(it)
        assert (await closed(it, asked)).answered
        assert (await it.ended(one)).outcome is Outcome.COMPLETED


async def test_an_interrupt_withdraws_it(rig: Rig) -> None:
    async with running(rig) as it:
        one, asked = await asks(it)
        await it.process.interrupt()
        assert (await closed(it, asked)).decision in (Decision.ABORT, None)
        assert (await it.ended(one)).outcome is Outcome.INTERRUPTED
        assert not await it.process.answer(asked.id, Answer(Decision.APPROVE))


async def test_a_second_runner_finds_the_question_again(rig: Rig) -> None:
    launched = await launch(rig)
    async with connected(rig, launched) as it:
        one, asked = await asks(it)
    adopted = await adopt(rig, launched)
    async with connected(rig, adopted, adopted=True) as it:
        again = await it.event(PermissionAsked)
        assert (again.id, again.title) == (asked.id, asked.title)
        try:
            assert await it.process.answer(asked.id, Answer(Decision.APPROVE))
        except ProviderUnsupported:
            assert Decision.APPROVE not in again.decisions and again.note
            await at_the_terminal(it)
        assert (await closed(it, asked)).answered
        assert (await it.ended(one)).outcome is Outcome.COMPLETED


async def test_what_was_answered_while_nobody_watched_is_not_asked_again(rig: Rig) -> None:
    launched = await launch(rig)
    async with connected(rig, launched) as it:
        one, _ = await asks(it)
        process = it.process
    await at_the_terminal(Running(rig, launched, process, []))
    adopted = await adopt(rig, launched)
    async with connected(rig, adopted, adopted=True) as it:
        await until(lambda: it.process.state is ProcessState.IDLE)
        assert (await it.process.find(one.nonce)).outcome is Outcome.COMPLETED
        assert asked_of(it) == []
