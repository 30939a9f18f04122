"""Codex's sessions on the real program: started, resumed, lost, archived; and who is told what of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import Learnt, SessionLost, SessionStarted
from tests.codex import codex_environ, codex_home, model  # noqa: F401 - a fixture
from tests.contract.providers import Launched, Rig, Running, adopt, codex_rig, connected, launch, running
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home
from tests.terminals import sockets as sockets
from tests.terminals import until

pytestmark = [pytest.mark.anyio, pytest.mark.codex]
LOST = "01a1fb2e-0000-7000-8000-00000000dead"


@pytest.fixture
async def rig(tmp_path: Path, sockets: Path) -> AsyncIterator[Rig]:
    async with codex_rig(tmp_path, sockets) as opened:
        yield opened


def shown(rig: Rig) -> str:
    """What the developer says to the model."""
    assert rig.responses is not None
    return rig.responses.requests[-1].instructions()


async def restarted(rig: Rig, it: Running) -> Launched:
    """Kill the program, and start it with its session as the supervisor does."""
    session = [event.session_id for event in it.events if isinstance(event, SessionStarted)][-1]
    await it.terminal.terminate(grace_s=0)
    await until(lambda: not it.terminal.alive())
    return await launch(rig, resume_session=session)


def life(it: Running) -> dict[str, Any]:
    learnt = [event.values for event in it.events if isinstance(event, Learnt)]
    return dict([values["appServer"] for values in learnt if "appServer" in values][-1])


async def test_after_a_restart_the_model_is_told_once_and_remembers(rig: Rig) -> None:
    async with running(rig) as it:
        await it.ended(await it.deliver("SAY:remember me"))
        again = await restarted(rig, it)
    async with connected(rig, again) as it:  # nothing is said in this one
        again = await restarted(rig, it)
    async with connected(rig, again) as it:
        assert (await it.event(SessionStarted)).source == "resume"
        assert (await it.ended(await it.deliver("SAY:back"))).result == "back"
        assert shown(rig).count("<restart-notice>") == 1
        assert any("SAY:remember me" in prompt for prompt in _prompts(rig))
        assert life(it)["stage"] == "ready"


async def test_no_notice_where_the_program_went_on_or_nothing_was_said(rig: Rig) -> None:
    launched = await launch(rig)
    async with connected(rig, launched) as it:
        again = await restarted(rig, it)  # named, and empty
    async with connected(rig, again) as it:
        await it.ended(await it.deliver("SAY:one"))
    async with connected(rig, await adopt(rig, again), adopted=True) as it:
        await it.ended(await it.deliver("SAY:two"))
        assert "restart-notice" not in shown(rig)


async def test_a_turn_that_was_cut_off_is_known_and_the_session_goes_on(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver("WAIT\nSAY:never")
        await it.seen(one)
        again = await restarted(rig, it)
    async with connected(rig, again) as it:
        assert (await it.process.find(one.nonce)).outcome is Outcome.INTERRUPTED
        assert (await it.ended(await it.deliver("SAY:on"))).result == "on"
        assert shown(rig).count("<restart-notice>") == 1


async def test_a_lost_session_is_replaced_told_and_kept_in_mind(rig: Rig) -> None:
    async with running(rig, resume_session=LOST) as it:
        assert (await it.event(SessionLost)).session_id == LOST
        assert (await it.event(SessionStarted)).source == "fresh"
        assert life(it)["lostSessions"] == [LOST]
        assert (await it.ended(await it.deliver("SAY:fresh"))).result == "fresh"


async def test_an_archived_session_is_taken_out_of_the_archive(rig: Rig) -> None:
    async with running(rig) as it:
        await it.ended(await it.deliver("SAY:kept"))
        former = (await it.process.operate("clear", {"archive": True}))["formerSessionId"]
        await it.terminal.terminate(grace_s=0)
    async with running(rig, resume_session=former) as it:
        assert (await it.event(SessionStarted)).session_id == former
        await it.ended(await it.deliver("SAY:again"))
        assert any("SAY:kept" in prompt for prompt in _prompts(rig))


async def test_flags_reach_the_session(rig: Rig) -> None:
    async with running(
        rig, model="gpt-5.4", effort="high", approval_mode="read-only", system_prompt_append="Speak like a pirate."
    ) as it:
        for _ in range(2):
            await it.ended(await it.deliver("RUN:touch written\nSAY:tried"))
            assert rig.responses is not None
            body = rig.responses.requests[-1].body
            assert (body["model"], body["reasoning"]["effort"]) == ("gpt-5.4", "high")
            assert "Speak like a pirate." in shown(rig)
            assert not (rig.spec.cwd / "written").exists()
            await it.process.operate("clear", {})  # the new session has them too


async def test_the_stages_are_told_up_to_the_end(rig: Rig) -> None:
    async with running(rig) as it:
        told = life(it)
        assert told["stage"] == "ready" and told["startedAt"] <= told["readyAt"]
        await it.process.quit()
        await until(lambda: not it.terminal.alive())
    assert life(it)["stage"] == "stopped"


def _prompts(rig: Rig) -> list[str]:
    assert rig.responses is not None
    return rig.responses.requests[-1].prompts()


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as made:
        yield made


@pytest.mark.slow
def test_the_next_sender_is_told_that_the_session_was_lost(place: Home) -> None:
    place.start("cx", "codex", "--resume", LOST)
    told = place.json("send", "cx", "SAY:fresh", "--wait")
    assert told["result"] == {"text": "fresh"}
    assert told["deliveries"][0]["reason"].startswith(f"session {LOST} was lost")
    assert place.json("send", "cx", "SAY:more", "--wait")["deliveries"][0]["reason"] is None
    assert LOST in place.run("read", str(told["id"])).stdout
