"""What the real Codex asks, answered from elsewhere: every kind of question, every decision, whoever is first."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.permissions import Decision
from relay_runner.providers.base import (
    Answer,
    PermissionAsked,
    PermissionClosed,
    ProcessState,
    SessionStarted,
    StateChanged,
    SubagentEnded,
)
from relay_runner.providers.codex.client import Client, Request, opened
from relay_runner.providers.codex.launch import socket
from relay_runner.providers.codex.process import CodexProcess
from relay_runner.providers.codex.session import CLIENT
from tests.codex import approve
from tests.contract.providers import Rig, Running, adopt, codex_rig, connected, launch, running
from tests.fake_models import mcp
from tests.fake_models.responses import FakeResponses
from tests.terminals import sockets as sockets
from tests.terminals import until

pytestmark = [pytest.mark.anyio, pytest.mark.codex]
YES, NO = Answer(Decision.APPROVE), Answer(Decision.DENY, reason="not on a Friday")
SIXTH = "gpt-6.1-sol"
UNKNOWN = "fake-model"
"""A model that the program does not know gets the tools of MCP servers directly."""
SETTINGS = f"""
[features]
default_mode_request_user_input = true
request_permissions_tool = true
[mcp_servers.mail]
command = '{sys.executable}'
args = ['{mcp.__file__}']
"""
QUESTIONS = (
    'TOOL:request_user_input {"questions": [{"id": "color", "header": "Color", "question": "Which color?", '
    '"options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}]}]}\nSAY:done'
)
ACCESS = (
    'TOOL:request_permissions {"reason": "need it", "permissions": {"file_system": {"write": ["/var/tmp"]}}}\nSAY:done'
)

BY_A_SUB_AGENT = (
    'SPAWN:helper JS:await tools.exec_command({cmd: "mkdir asked"});;SAY:child done\n'
    'TOOL:collaboration.wait_agent {"timeout_ms": 60000}\nSAY:parent done'
)


@pytest.fixture
async def rig(tmp_path: Path, sockets: Path) -> AsyncIterator[Rig]:
    async with codex_rig(tmp_path, sockets) as opened:
        config = tmp_path / "home" / ".codex" / "config.toml"
        config.write_text(config.read_text() + SETTINGS)
        yield opened


def model(rig: Rig) -> FakeResponses:
    """Return the fake model of a rig."""
    assert rig.responses is not None
    return rig.responses


async def asked(it: Running, number: int = 0) -> PermissionAsked:
    """Return the question with this number, once it was told."""
    await until(lambda: len(_told(it)) > number, patience_s=60)
    return _told(it)[number]


def _told(it: Running) -> list[PermissionAsked]:
    return [event for event in it.events if isinstance(event, PermissionAsked)]


def _closed(it: Running) -> list[PermissionClosed]:
    return [event for event in it.events if isinstance(event, PermissionClosed)]


async def test_an_approved_command_runs_and_a_denied_one_tells_the_model_why(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver("RUN:mkdir one\nSAY:made")
        told = await asked(it)
        assert (told.kind, told.title) == ("command", "mkdir one")
        assert Decision.APPROVE_ALWAYS not in told.decisions, "the home is the user's own"
        assert it.process.state is ProcessState.WAITING
        assert await it.process.answer(told.id, YES)
        assert (await it.ended(one)).result == "made"
        assert (it.launched.spec.cwd / "one").is_dir()
        two = await it.deliver("RUN:mkdir two\nSAY:not made")
        denied = await asked(it, 1)
        assert await it.process.answer(denied.id, NO)
        assert (await it.ended(two)).result == "not made"
        assert not (it.launched.spec.cwd / "two").exists()
        assert "not on a Friday" in model(rig).requests[-1].instructions()
        assert [(event.id, event.decision) for event in _closed(it)] == [
            (told.id, Decision.APPROVE),
            (denied.id, Decision.DENY),
        ]


async def test_approved_for_the_session_is_this_very_command_and_an_abort_ends_the_turn(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver("RUN:touch a\nRUN:touch a\nSAY:twice")
        assert await it.process.answer((await asked(it)).id, Answer(Decision.APPROVE_SESSION))
        assert (await it.ended(one)).result == "twice"
        assert len(_told(it)) == 1, "the same is not asked again"
        two = await it.deliver("RUN:touch b\nSAY:never")
        other = await asked(it, 1)
        assert other.title == "touch b", "another one is"
        assert await it.process.answer(other.id, Answer(Decision.ABORT))
        assert (await it.ended(two)).outcome is Outcome.INTERRUPTED
        assert (await it.ended(await it.deliver("SAY:goes on"))).result == "goes on"


async def test_a_standing_rule_is_kept_in_the_agents_own_home_only(rig: Rig, tmp_path: Path) -> None:
    async with running(rig, isolated_home=True) as it:
        one = await it.deliver("RUN:touch a\nRUN:touch a\nSAY:twice")
        told = await asked(it)
        assert Decision.APPROVE_ALWAYS in told.decisions
        assert await it.process.answer(told.id, Answer(Decision.APPROVE_ALWAYS))
        assert (await it.ended(one)).result == "twice"
        assert len(_told(it)) == 1
        (rules,) = it.launched.spec.agent_dir.glob("**/rules/default.rules")
        assert "touch" in rules.read_text()
        assert not (tmp_path / "home" / ".codex" / "rules").exists()


async def test_a_change_is_asked_with_its_diff(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver("PATCH:new.txt hello\nSAY:written")
        told = await asked(it)
        assert (told.kind, told.title) == ("change", "add new.txt") and "hello" in str(told.detail)
        assert await it.process.answer(told.id, YES)
        assert (await it.ended(one)).result == "written"
        assert (it.launched.spec.cwd / "new.txt").read_text() == "hello\n"


async def test_a_question_of_the_model_gets_its_answer(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver(QUESTIONS)
        told = await asked(it)
        assert (told.kind, told.questions[0].options) == ("question", ("Red", "Blue"))
        assert await it.process.answer(told.id, Answer(Decision.APPROVE, answers={"color": "Blue"}))
        await it.ended(one)
        assert '{"answers":{"color":{"answers":["Blue"]}}}' in str(model(rig).requests[-1].items)
        two = await it.deliver(QUESTIONS)
        assert await it.process.answer((await asked(it, 1)).id, Answer(Decision.ABORT))
        assert (await it.ended(two)).outcome is Outcome.INTERRUPTED


async def test_what_the_model_asks_in_passing_reaches_the_sender(rig: Rig) -> None:
    async with running(rig, model=SIXTH) as it:
        order = 'TOOL:functions.request_user_input_async {"questions": [{"title": "Which color?", "options": ["Red"]}]}'
        one = await it.deliver(f"{order}\nSAY:took red meanwhile")
        assert (await it.ended(one)).result == "Which color?\n- Red\n\ntook red meanwhile"
        assert (await it.process.find(one.nonce)).result == "Which color?\n- Red\n\ntook red meanwhile"
        assert not _told(it), "it is a message, and so is its answer"


async def test_more_access_is_given_or_not(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver(ACCESS)
        told = await asked(it)
        assert (told.kind, told.title) == ("access", "write /var/tmp")
        assert await it.process.answer(told.id, YES)
        await it.ended(one)
        assert '{"permissions":{"network":null,"file_system":{"write":["/var/tmp"]}},"scope":"turn"}' in _output(rig)
        two = await it.deliver(ACCESS)
        assert await it.process.answer((await asked(it, 1)).id, NO)
        await it.ended(two)
        assert '"file_system":null' in _output(rig)


def _output(rig: Rig) -> str:
    return str(model(rig).requests[-1].items[-2:])


async def test_the_tools_and_forms_of_an_mcp_server(rig: Rig) -> None:
    async with running(rig, model=UNKNOWN) as it:
        one = await it.deliver('TOOL:mcp__mail.post {"text": "hi"}')
        told = await asked(it)
        assert (told.kind, told.title) == ("tool", 'mail: post {"text": "hi"}')
        assert await it.process.answer(told.id, YES)
        assert "posted hi" in str((await it.ended(one)).result)
        two = await it.deliver("TOOL:mcp__mail.form {}")
        form = await asked(it, 1)
        assert [question.id for question in form.questions] == ["age", "color", "name"]
        filled = Answer(Decision.APPROVE, answers={"name": "ann", "age": "3", "color": "red"})
        assert await it.process.answer(form.id, filled)
        assert '{"action": "accept", "content": {"age": 3, "color": "red", "name": "ann"}}' in str(
            (await it.ended(two)).result
        )
        three = await it.deliver('TOOL:mcp__mail.post {"text": "no"}')
        assert await it.process.answer((await asked(it, 2)).id, Answer(Decision.DENY))
        assert "user rejected MCP tool call" in str((await it.ended(three)).result)
        same = 'TOOL:mcp__mail.post {"text": "again"}\n'
        four = await it.deliver(f'{same}{same}TOOL:mcp__mail.post {{"text": "else"}}')
        assert await it.process.answer((await asked(it, 3)).id, Answer(Decision.APPROVE_SESSION))
        assert "else" in (await asked(it, 4)).title, "another call is asked, the same one is not"
        assert await it.process.answer(_told(it)[4].id, YES)
        assert "posted else" in str((await it.ended(four)).result)


async def test_who_answers_first_counts_and_the_other_is_told(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver("RUN:mkdir asked\nSAY:made")
        told = await asked(it)
        await approve(it.launched.spec)
        closed = await it.event(PermissionClosed)
        assert (closed.id, closed.answered, closed.decision) == (told.id, True, None)
        assert not await it.process.answer(told.id, NO), "a person was first"
        assert (await it.ended(one)).result == "made"


@pytest.mark.parametrize("first", ["a person", "we"])
@pytest.mark.parametrize("mine", [Decision.APPROVE, Decision.DENY])
async def test_two_answers_at_once_and_what_is_told_is_what_happened(rig: Rig, mine: Decision, first: str) -> None:
    async with running(rig) as it, sitting(it) as (person, asks):
        one = await it.deliver("RUN:mkdir asked\nSAY:over")
        told = await asked(it)
        await until(lambda: bool(asks))
        theirs = {"decision": "accept" if mine is Decision.DENY else "decline"}
        async with asyncio.TaskGroup() as group:
            if first == "a person":
                await person.answer(asks[0].id, theirs)
            answering = group.create_task(it.process.answer(told.id, Answer(mine)))
            if first == "we":
                await asyncio.sleep(0)
                await person.answer(asks[0].id, theirs)
        assert (await it.ended(one)).result == "over"
        made = (it.launched.spec.cwd / "asked").is_dir()
        closed = await it.event(PermissionClosed)
        assert answering.result() is (closed.decision is not None)
        ours = closed.decision is not None
        assert made is ((mine is Decision.APPROVE) is ours), "what is told is what happened"


@asynccontextmanager
async def sitting(it: Running) -> AsyncIterator[tuple[Client, list[Request]]]:
    """Connect as a person's Codex does; what it is asked is in the list."""
    asks: list[Request] = []
    async with opened(socket(it.launched.spec), lambda method, params: None, asks.append) as person:
        await person.call("initialize", {"clientInfo": CLIENT, "capabilities": {"experimentalApi": True}})
        await person.notify("initialized")
        thread = (await it.event(SessionStarted)).session_id
        await person.call("thread/resume", {"threadId": thread, "excludeTurns": True})
        yield person, asks


async def test_an_interrupt_withdraws_what_was_asked(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver("RUN:mkdir asked\nSAY:never")
        told = await asked(it)
        await it.process.interrupt()
        assert (await it.ended(one)).outcome is Outcome.INTERRUPTED
        assert (await it.event(PermissionClosed)).id == told.id
        assert not await it.process.answer(told.id, YES)


async def test_a_broken_connection_asks_the_same_question_again(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver("RUN:mkdir asked\nSAY:made")
        told = await asked(it)
        process = it.process
        assert isinstance(process, CodexProcess) and process._link.client is not None
        await process._link.client._connection.close()
        assert await it.process.answer(told.id, YES)
        assert (await it.ended(one)).result == "made"
        assert len(_told(it)) == len(_closed(it)) == 1


async def test_the_next_runner_is_asked_the_same_with_the_diff_and_answers(rig: Rig) -> None:
    launched = await launch(rig)
    async with connected(rig, launched) as it:
        one = await it.deliver("PATCH:new.txt hello\nSAY:written")
        first = await asked(it)
    async with connected(rig, await adopt(rig, launched), adopted=True) as it:
        told = await asked(it)
        assert (told.id, told.title) == (first.id, "add new.txt") and "hello" in str(told.detail)
        assert await it.process.answer(told.id, YES)
        assert (await it.ended(one)).result == "written"


async def test_to_abort_what_a_sub_agent_asks_ends_the_whole_turn(rig: Rig) -> None:
    async with running(rig, model=SIXTH) as it:
        one = await it.deliver(BY_A_SUB_AGENT)
        assert await it.process.answer((await asked(it)).id, Answer(Decision.ABORT))
        assert (await it.ended(one)).outcome is Outcome.INTERRUPTED
        await it.event(SubagentEnded)
        assert it.process.state is ProcessState.IDLE
        assert (await it.ended(await it.deliver("SAY:goes on"))).result == "goes on"


async def test_what_a_sub_agent_asks_is_asked_and_the_next_runner_can_answer_it(rig: Rig) -> None:
    launched = await launch(rig, model=SIXTH)
    async with connected(rig, launched) as it:
        one = await it.deliver(BY_A_SUB_AGENT)
        first = await asked(it)
        assert first.title == "mkdir asked" and "asked by the sub-agent helper" in str(first.detail)
        await it.event(StateChanged, lambda event: event.state is ProcessState.WAITING)
    async with connected(rig, await adopt(rig, launched), adopted=True) as it:
        told = await asked(it)
        assert told.id == first.id and it.process.state is ProcessState.WAITING
        assert await it.process.answer(told.id, YES)
        assert (await it.ended(one)).result == "parent done"
        assert (launched.spec.cwd / "asked").is_dir()
        await it.event(SubagentEnded)
