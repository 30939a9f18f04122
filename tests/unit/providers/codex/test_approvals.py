from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ProviderRefused, ProviderUnsupported
from relay_runner.protocol.permissions import Decision
from relay_runner.providers.base import Answer, PermissionAsked, PermissionClosed
from relay_runner.providers.codex import approvals, questions
from tests.terminals import until
from tests.unit.providers.codex import asks
from tests.unit.providers.codex.place import Place, watched
from tests.unit.providers.codex.place import place as place
from tests.unit.providers.codex.server import THREAD

pytestmark = pytest.mark.anyio
YES = Answer(Decision.APPROVE)
NO = Answer(Decision.DENY, reason="not on a Friday")
CHANGE: dict[str, Any] = {"path": "/project/a.txt", "kind": {"type": "add"}, "diff": "hello\n"}


async def asked(place: Place, method: str = questions.COMMAND, id: int = 0, **more: Any) -> PermissionAsked:
    """Let the server ask and return the question that is told of it."""
    before = len(place.told(PermissionAsked))
    await place.server.ask(id, method, **{**asks.COMMAND, **more})
    await until(lambda: len(place.told(PermissionAsked)) > before)
    return place.told(PermissionAsked)[-1]


async def resolving(place: Place, id: str, answer: Answer, request_id: int = 0) -> bool:
    """Answer, with a server that takes it."""
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(place.process.answer(id, answer))
        await until(lambda: bool(place.server.said))
        await place.server.resolve(request_id)
    return answering.result()


async def test_a_question_is_told_and_its_answer_goes_in_once(place: Place) -> None:
    told = await asked(place)
    assert (told.kind, told.title) == ("command", "touch one")
    assert await resolving(place, told.id, YES)
    assert place.server.said == [{"id": 0, "result": {"decision": "accept"}}]
    assert place.told(PermissionClosed) == [PermissionClosed(told.id, approvals.RESOLVED, True, Decision.APPROVE)]
    assert not await place.process.answer(told.id, NO), "it is over"
    assert len(place.server.said) == 1


async def test_the_second_of_two_answers_from_here_is_too_late(place: Place) -> None:
    told = await asked(place)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(place.process.answer(told.id, YES))
        await until(lambda: bool(place.server.said))
        assert not await place.process.answer(told.id, NO)
        await place.server.resolve(0)
    assert first.result()


async def test_a_person_who_answered_in_the_terminal_closes_it(place: Place) -> None:
    told = await asked(place)
    await place.server.resolve(0)
    await until(lambda: bool(place.told(PermissionClosed)))
    assert place.told(PermissionClosed) == [PermissionClosed(told.id, approvals.RESOLVED, True, None)]
    assert not await place.process.answer(told.id, YES)
    await place.process.leave(told.id)


async def begun(place: Place) -> PermissionAsked:
    """Ask about a command whose item was told."""
    item = {"type": "commandExecution", "id": "call_1", "status": "inProgress"}
    await place.server.tell("item/started", turnId="t1", item=item)
    return await asked(place)


WAITS_NO_MORE = ("thread/status/changed", {"status": {"type": "active", "activeFlags": []}})
SAYS = ("item/commandExecution/outputDelta", {"turnId": "t1", "itemId": "call_1", "delta": "a"})


def ended(status: str) -> tuple[str, dict[str, Any]]:
    item = {"type": "commandExecution", "id": "call_1", "status": status}
    return "item/completed", {"turnId": "t1", "item": item}


@pytest.mark.parametrize(
    ("mine", "told_next", "won"),
    [
        (YES, [WAITS_NO_MORE, ended("completed")], True),
        (YES, [WAITS_NO_MORE, SAYS], True),
        (YES, [ended("declined"), WAITS_NO_MORE], False),
        (YES, [WAITS_NO_MORE, ended("declined")], False),
        (NO, [ended("declined"), WAITS_NO_MORE], True),
        (NO, [WAITS_NO_MORE, ended("declined")], True),
        (NO, [WAITS_NO_MORE, ended("completed")], False),
        (NO, [WAITS_NO_MORE, SAYS], False),
    ],
)
async def test_who_was_first_shows_in_what_the_item_does(
    place: Place, mine: Answer, told_next: list[tuple[str, dict[str, Any]]], won: bool
) -> None:
    told = await begun(place)
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(place.process.answer(told.id, mine))
        await until(lambda: bool(place.server.said))
        await place.server.resolve(0)
        for method, params in told_next:
            await place.server.tell(method, **params)
    assert answering.result() is won
    assert place.told(PermissionClosed) == [
        PermissionClosed(told.id, approvals.RESOLVED, True, mine.decision if won else None)
    ]


async def test_an_item_that_shows_nothing_leaves_ours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "ALLOWED_S", 0.05)
    told = await begun(place)
    assert await resolving(place, told.id, YES)
    assert [event.decision for event in place.told(PermissionClosed)] == [Decision.APPROVE]
    other = await asked(place, id=1, itemId="call_2")
    await place.server.tell("item/started", turnId="t1", item={"type": "commandExecution", "id": "call_2"})
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(place.process.answer(other.id, YES))
        await until(lambda: len(place.server.said) == 2)
        await place.server.resolve(1)
        await place.server.hang_up()
    assert answering.result(), "nor does a connection that broke"


async def test_an_item_that_was_not_declined_in_time_was_allowed_by_another(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "DENIED_S", 0.05)
    told = await begun(place)
    assert not await resolving(place, told.id, NO)
    assert [event.decision for event in place.told(PermissionClosed)] == [None]


async def test_what_came_meanwhile_is_taken_in_before_a_silent_item_is_judged(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "DENIED_S", 0.0)
    told = await begun(place)
    loaded = place.server.answers["thread/loaded/list"]
    place.server.answers["thread/loaded/list"] = lambda params: None
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(place.process.answer(told.id, NO))
        await until(lambda: bool(place.server.said))
        place.server.calls.clear()
        await place.server.resolve(0)
        await until(lambda: bool(place.server.called("thread/loaded/list")))
        method, params = ended("declined")
        await place.server.tell(method, **params)
    place.server.answers["thread/loaded/list"] = loaded
    assert answering.result(), "the answer to the look came after the end of the item"


async def test_why_not_is_told_to_the_model_before_the_no(place: Place) -> None:
    told = await asked(place)
    assert await resolving(place, told.id, NO)
    (injected,) = place.server.called("thread/inject_items")
    assert "not on a Friday" in str(injected["items"]) and injected["items"][0]["role"] == "developer"
    assert place.server.said == [{"id": 0, "result": {"decision": "decline"}}]


async def test_a_version_that_takes_no_reason_takes_the_no(place: Place) -> None:
    del place.server.answers["thread/inject_items"]
    assert await resolving(place, (await asked(place)).id, NO)


async def test_what_ends_no_turn_by_itself_interrupts_it(place: Place) -> None:
    place.server.answers["turn/interrupt"] = lambda params: {}
    told = await asked(place, questions.INPUT, **asks.INPUT)
    assert await resolving(place, told.id, Answer(Decision.ABORT))
    assert place.server.called("turn/interrupt") == [{"threadId": THREAD, "turnId": "t1"}]


async def test_an_answer_that_does_not_fit_leaves_it_open(place: Place) -> None:
    told = await asked(place, questions.ELICITATION, **asks.FORM)
    with pytest.raises(ProviderRefused, match="approve-session"):
        await place.process.answer(told.id, Answer(Decision.APPROVE_SESSION))
    with pytest.raises(ProviderRefused, match="age is to be a number"):
        await place.process.answer(told.id, Answer(Decision.APPROVE, answers={"age": "old"}))
    assert await resolving(place, told.id, Answer(Decision.APPROVE, answers={"name": "ann"}))


async def test_for_the_session_is_the_very_same_call_of_a_tool(place: Place) -> None:
    told = await asked(place, questions.ELICITATION, **asks.TOOL)
    assert await resolving(place, told.id, Answer(Decision.APPROVE_SESSION))
    assert "_meta" not in place.server.said[0]["result"], "Codex would let the tool do anything"
    await place.server.ask(1, questions.ELICITATION, **asks.TOOL)
    await until(lambda: len(place.server.said) == 2)
    assert place.server.said[1] == {"id": 1, "result": {"action": "accept", "content": {}}}
    assert len(place.told(PermissionAsked)) == 1
    meta = {**asks.TOOL["_meta"], "tool_params": {"text": "else"}}
    other = await asked(place, questions.ELICITATION, id=2, **{**asks.TOOL, "_meta": meta})
    assert "else" in other.title
    place.process._link._forget()
    await asked(place, questions.ELICITATION, id=3, **asks.TOOL)


async def test_only_the_terminal_can_answer_some(place: Place) -> None:
    told = await asked(
        place, questions.ELICITATION, serverName="mail", mode="openai/userVerification", title="Prove it"
    )
    with pytest.raises(ProviderUnsupported, match="terminal"):
        await place.process.answer(told.id, YES)


async def test_a_change_is_told_with_what_its_item_said(place: Place) -> None:
    item = {"type": "fileChange", "id": "call_1", "changes": [CHANGE], "status": "inProgress"}
    await place.server.tell("item/started", turnId="t1", item=item)
    told = await asked(place, questions.CHANGE)
    assert told.title == "add a.txt" and told.detail is not None and "hello" in told.detail


@pytest.mark.parametrize("after", ["thread/resume", "thread/loaded/list"])
async def test_after_a_reconnect_it_is_the_same_question(place: Place, after: str) -> None:
    told = await asked(place)
    place.server.asks_after = after
    place.server.status = {"type": "active", "activeFlags": ["waitingOnApproval"]}
    await place.server.hang_up()
    await until(lambda: len(place.server.called("thread/resume")) == 1 and place.process._link.client is not None)
    assert place.told(PermissionAsked) == [told] and not place.told(PermissionClosed)
    assert await resolving(place, told.id, YES)


async def test_an_answer_that_a_broken_connection_lost_is_put_again(place: Place) -> None:
    told = await asked(place)
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(place.process.answer(told.id, YES))
        await until(lambda: bool(place.server.said))
        place.server.status = {"type": "active", "activeFlags": ["waitingOnApproval"]}
        await place.server.hang_up()
        await until(lambda: len(place.server.said) == 2)
        await place.server.resolve(0)
    assert answering.result()
    assert [event.decision for event in place.told(PermissionClosed)] == [Decision.APPROVE]


async def test_what_is_not_asked_again_was_answered_or_is_asked_no_more(place: Place) -> None:
    await place.begins(None)
    live = await asked(place)
    dead = await asked(place, id=1, itemId="call_2", turnId="t0")
    place.server.asked.clear()
    place.server.status = {"type": "active", "activeFlags": []}
    await place.server.hang_up()
    await until(lambda: len(place.told(PermissionClosed)) == 2)
    assert {event.id: event.answered for event in place.told(PermissionClosed)} == {live.id: True, dead.id: False}


async def test_what_is_waited_for_and_not_asked_again_is_over_after_a_moment(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "REPLAY_S", 0.2)
    told = await asked(place)
    place.server.asked.clear()
    place.server.status = {"type": "active", "activeFlags": ["waitingOnApproval"]}
    await place.server.hang_up()
    await until(lambda: [event.id for event in place.told(PermissionClosed)] == [told.id])


async def test_an_answer_that_nobody_takes_is_no_answer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    told = await asked(place)
    monkeypatch.setattr(approvals, "ANSWER_S", 0.05)
    with pytest.raises(ProviderRefused, match="did not take the answer"):
        await place.process.answer(told.id, YES)
    monkeypatch.setattr(approvals, "ANSWER_S", 20.0)
    place.server.said.clear()
    assert await resolving(place, told.id, NO), "it is still open"


async def test_the_next_runner_finds_it_with_its_diff(place: Place, tmp_path: Path) -> None:
    told = await asked(place, questions.CHANGE)
    assert told.title == "change files", "its item was never told, and nothing is written yet"
    folder = tmp_path / ".codex" / "sessions" / "2026" / "11" / "21"
    folder.mkdir(parents=True)
    patch = "*** Begin Patch\\n*** Add File: a.txt\\n+hello\\n*** End Patch\\n"
    call = f'{{"type":"custom_tool_call","call_id":"call_1","name":"apply_patch","input":"{patch}"}}'
    (folder / f"rollout-x-{THREAD}.jsonl").write_text(f'{{"type":"response_item","payload":{call}}}\n')
    async with watched(tmp_path, adopted=True, session=THREAD) as second:
        await second.process.ready()
        await until(lambda: bool(second.told(PermissionAsked)))
        (again,) = second.told(PermissionAsked)
        assert again.id == told.id and again.title == "add a.txt" and "+hello" in str(again.detail)


async def test_questions_of_different_turns_and_servers_are_different(place: Place) -> None:
    first = await asked(place)
    await place.server.resolve(0)
    second = await asked(place, turnId="t2")
    other = await asked(place, questions.ELICITATION, id=1, **{**asks.FORM, "turnId": None})
    assert len({first.id, second.id, other.id}) == 3
