"""The demo provider: plans, starts, and the pty."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relay_runner.errors import ProviderExited, ProviderUnsupported
from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.permissions import Decision
from relay_runner.providers.base import Answer, Held, PermissionAsked, ProcessState
from relay_runner.providers.demo import DemoProvider, transcript
from relay_runner.terminal.pty import PtyTerminals
from tests.contract.providers import connected, demo_rig, launch, launch_spec, running
from tests.contract.test_provider_permissions import asked_of
from tests.terminals import shown, sockets, until

pytestmark = pytest.mark.anyio
__all__ = ["sockets"]


def test_a_session_is_known_before_the_start(tmp_path: Path) -> None:
    spec = launch_spec(tmp_path)
    plan = DemoProvider().plan(spec)
    assert plan.session_id
    assert not plan.resumed
    assert plan.argv[-4:] == ("--transcript", str(transcript(spec, plan.session_id)), "--session", plan.session_id)
    assert (spec.agent_dir / "demo").stat().st_mode & 0o777 == 0o700


def test_a_session_that_left_nothing_is_not_resumed(tmp_path: Path) -> None:
    spec = launch_spec(tmp_path, resume_session="gone")
    plan = DemoProvider().plan(spec)
    assert not plan.resumed
    assert plan.session_id != "gone"
    assert plan.notes == ("session gone is not there: a new one was started",)
    transcript(spec, "gone").touch()
    assert DemoProvider().plan(spec).resumed


def test_a_session_id_cannot_leave_the_folder(tmp_path: Path) -> None:
    spec = launch_spec(tmp_path)
    assert transcript(spec, "../../x").parent == spec.agent_dir / "demo"


def test_bypass_answers_by_itself_and_read_only_is_refused(tmp_path: Path) -> None:
    spec = launch_spec(tmp_path)
    assert "--allow" in DemoProvider().plan(replace(spec, approval_mode="bypass")).argv
    with pytest.raises(ProviderUnsupported, match="read-only"):
        DemoProvider().check(replace(spec, approval_mode="read-only"))
    with pytest.raises(ProviderUnsupported, match="no system prompt"):
        DemoProvider().check(replace(spec, system_prompt_append="be brief"))


async def test_it_runs_on_a_pty(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig:
        rig.terminals = PtyTerminals()
        async with running(rig) as it:
            one = await it.deliver("echo over a pty")
            assert (await it.ended(one)).result == "over a pty"
            await until(lambda: it.process.state is ProcessState.IDLE)
            await it.terminal.type("draft")
            await shown(it.terminal, "demo> draft")
            assert (await it.submit("echo no"))[1] == Held("person typing")


async def test_bypass_asks_nobody(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig, running(rig, approval_mode="bypass") as it:
        one = await it.deliver("ask to leave")
        assert (await it.ended(one)).result == "allowed: to leave"


async def test_a_turn_that_a_crash_cut_off_is_failed_after_the_resume(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig:
        async with running(rig) as it:
            one, _ = await it.submit("crash")
            assert (await it.terminal.wait_exit()).code == -9
            assert (await it.process.find(one.nonce)).seen
        async with running(rig, resume_session=it.launched.plan.session_id) as again:
            evidence = await again.process.find(one.nonce)
            assert evidence.outcome is Outcome.FAILED
            assert evidence.reason == "the program ended in the middle of the turn"


async def test_a_program_that_does_not_start_says_why(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig:
        launched = await launch(rig, args=("--no-such-option",))
        with pytest.raises(ProviderExited, match="exit code 2"):
            async with connected(rig, launched) as it:
                assert it is None


async def test_a_choice_made_elsewhere_reaches_it_with_a_reason_for_a_refusal(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig, running(rig) as it:
        for number, (answer, said) in enumerate(
            (
                (Answer(Decision.APPROVE, answers={"choice": "blue"}), "chosen: blue"),
                (Answer(Decision.DENY, "neither"), "denied: the colour (neither)"),
            )
        ):
            one = await it.deliver("choose red|blue the colour")
            await until(lambda: len(asked_of(it)) > number)  # noqa: B023
            assert await it.process.answer(asked_of(it)[-1].id, answer)
            assert (await it.ended(one)).result == said


async def test_a_program_that_died_takes_no_answer(tmp_path: Path, sockets: Path) -> None:
    async with demo_rig(tmp_path, sockets) as rig, running(rig) as it:
        await it.deliver("ask to go")
        asked = await it.event(PermissionAsked)
        await it.terminal.terminate(grace_s=0)
        assert not await it.process.answer(asked.id, Answer(Decision.APPROVE))
