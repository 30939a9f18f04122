from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ProviderError, ProviderRefused
from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import ProcessState, TurnEnded
from relay_runner.providers.codex.operations import turns
from relay_runner.providers.codex.operations.args import Args
from tests.terminals import until
from tests.unit.providers.codex.operations.rooms import Made, room

pytestmark = pytest.mark.anyio


async def begun(made: Made, work: Any, method: str) -> asyncio.Task[dict[str, Any]]:
    """Start an operation, and return when it has asked the server."""
    task = asyncio.create_task(work)
    await until(lambda: bool(made.server.called(method)))
    await until(lambda: made.room.doing is not None)
    return task


async def test_a_compaction_answers_at_its_end(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/compact/start", {})
        task = await begun(made, turns.compact(made.room, Args({})), "thread/compact/start")
        made.room.heard(
            "thread/tokenUsage/updated", {"tokenUsage": {"last": {"totalTokens": 5}, "modelContextWindow": 9}}
        )
        assert not task.done()
        made.room.ended(TurnEnded(Outcome.COMPLETED, "turn/completed"))
        assert await task == {"outcome": "completed", "context": {"tokens": 5, "window": 9}}


async def test_a_compaction_that_failed_is_an_error_with_its_reason(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/compact/start", {})
        task = await begun(made, turns.compact(made.room, Args({})), "thread/compact/start")
        made.room.ended(TurnEnded(Outcome.FAILED, "turn/completed", reason="rate-limited: later"))
        with pytest.raises(ProviderError, match="rate-limited: later"):
            await task


async def test_a_compaction_need_not_be_waited_for(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/compact/start", {})
        task = await begun(made, turns.compact(made.room, Args({"wait": False})), "thread/compact/start")
        await made.server.tell("turn/started", turn={"id": "t9"})
        assert await task == {"started": True}


@pytest.mark.parametrize(
    ("args", "target"),
    [
        ({}, {"type": "uncommittedChanges"}),
        ({"branch": "main"}, {"type": "baseBranch", "branch": "main"}),
        ({"commit": "abc", "title": "Fix"}, {"type": "commit", "sha": "abc", "title": "Fix"}),
        ({"instructions": "look"}, {"type": "custom", "instructions": "look"}),
        ({"target": "uncommitted"}, {"type": "uncommittedChanges"}),
    ],
)
async def test_a_review_names_its_target_and_its_turn(
    tmp_path: Path, args: dict[str, Any], target: dict[str, Any]
) -> None:
    async with room(tmp_path) as made:
        made.answers("review/start", {"turn": {"id": "A"}, "reviewThreadId": "T"})
        task = await begun(made, turns.review(made.room, Args(args)), "review/start")
        await made.server.tell("turn/started", turn={"id": "B", "rootTurnId": "A"})
        assert await task == {"turnId": "A", "sessionId": "T", "target": target["type"]}
        assert made.server.called("review/start")[0]["target"] == target


async def test_a_review_of_two_things_or_of_a_missing_one_is_refused(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        for args, said in (({"branch": "a", "commit": "b"}, "one target"), ({"target": "branch"}, "branch is missing")):
            with pytest.raises(ProviderRefused, match=said):
                await turns.review(made.room, Args(args))


async def test_a_shell_command_tells_its_output_at_the_end_of_its_turn(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/shellCommand", {})
        task = await begun(made, turns.shell(made.room, Args({"command": "ls"})), "thread/shellCommand")
        item = {"source": "userShell", "aggregatedOutput": "x" * 30_000, "exitCode": 0, "status": "completed"}
        await made.server.tell("item/completed", item={"source": "agent", "exitCode": 9})
        await made.server.tell("item/completed", item=item)
        made.room.ended(TurnEnded(Outcome.COMPLETED, "turn/completed"))
        done = await task
        assert (done["exitCode"], len(done["output"]), done["cut"]) == (0, turns.OUTPUT_CHARS, True)


async def test_what_waits_for_a_program_that_ended_is_told_so(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        for name, work in (
            ("thread/shellCommand", turns.shell(made.room, Args({"command": "ls"}))),
            ("thread/compact/start", turns.compact(made.room, Args({}))),
        ):
            made.answers(name, {})
            task = await begun(made, work, name)
            made.room.over()
            with pytest.raises(ProviderError, match="ended"):
                await task


async def test_a_shell_command_in_a_running_turn_does_not_wait_for_its_end(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/shellCommand", {})
        made.state = ProcessState.BUSY
        task = asyncio.create_task(turns.shell(made.room, Args({"command": "ls", "timeoutMs": 5})))
        await until(lambda: bool(made.server.called("thread/shellCommand")))
        await made.server.tell("item/completed", item={"source": "userShell", "exitCode": 1})
        assert (await task)["exitCode"] == 1
        assert made.server.called("thread/shellCommand")[0]["timeoutMs"] == 5


def listed(*ids: str) -> list[dict[str, Any]]:
    return [{"id": id, "rootTurnId": id, "status": "completed", "items": []} for id in ids]


async def test_turns_inside_of_a_review_are_not_counted(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.server.turns = [*listed("t3"), {"id": "inner", "rootTurnId": "t3", "status": "interrupted"}, *listed("t1")]
        made.answers("thread/revert", {})
        done = await turns.revert(made.room, Args({"turns": 2}))
        assert done == {"reverted": ["t3", "t1"], "beforeTurnId": "t1"}
        assert [joined.source for joined in made.entered] == ["resume"]
        assert [turn["turnId"] for turn in (await turns.turns(made.room, Args({"limit": 1})))["turns"]] == ["t3"]


async def test_a_turn_that_is_not_there_cannot_be_taken_back_and_is_not_listed(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        with pytest.raises(ProviderRefused, match="no turn to take back"):
            await turns.revert(made.room, Args({}))
        made.server.turns = listed("t1")
        with pytest.raises(ProviderRefused, match="there is no turn 'x'"):
            await turns.revert(made.room, Args({"before": "x"}))
        assert await turns.turns(made.room, Args({"turnId": "x"})) == {"turns": []}
