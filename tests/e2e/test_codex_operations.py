"""Codex's own operations on the real program: each does what it says, and no message is lost or mixed up by it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relay_runner.config import AgentPaths
from relay_runner.errors import ProviderRefused, ProviderUnsupported
from relay_runner.protocol.messages import Outcome, Timing
from relay_runner.providers.base import (
    ContextUsed,
    Held,
    Learnt,
    ProcessState,
    SessionStarted,
    Submission,
    TurnEnded,
    TurnState,
    Warned,
)
from relay_runner.providers.codex.operations.table import OPERATIONS
from tests.contract.providers import Rig, Running, codex_rig, running, submission
from tests.fake_models.responses import FakeResponses
from tests.terminals import sockets as sockets
from tests.terminals import until

pytestmark = [pytest.mark.anyio, pytest.mark.codex]


@pytest.fixture
async def rig(tmp_path: Path, sockets: Path) -> AsyncIterator[Rig]:
    async with codex_rig(tmp_path, sockets) as opened:
        yield opened


def model(rig: Rig) -> FakeResponses:
    assert rig.responses is not None
    return rig.responses


async def do(it: Running, action: str, **args: object) -> dict[str, Any]:
    return dict(await it.process.operate(action, args))


def conversation(rig: Rig) -> str:
    """What the model was shown last."""
    request = model(rig).requests[-1]
    return request.instructions() + "\n".join(request.prompts())


async def test_this_version_has_every_operation(rig: Rig) -> None:
    async with running(rig) as it:
        assert set(it.process.operations) == set(OPERATIONS)
        with pytest.raises(ProviderUnsupported, match="no operation 'dance'"):
            await do(it, "dance")
        with pytest.raises(ProviderRefused, match="no argument 'speed'"):
            await do(it, "compact", speed=1)


async def test_a_message_that_comes_during_a_compaction_waits_and_has_its_own_result(rig: Rig) -> None:
    async with running(rig) as it:
        await it.ended(await it.deliver("SAY:before"))
        model(rig).compacts.clear()
        compacting = asyncio.create_task(do(it, "compact"))
        await until(lambda: it.process.state is ProcessState.BUSY)
        assert isinstance(await it.process.submit(submission("SAY:not now")), Held)
        model(rig).compacts.set()
        assert (await it.ended(await it.deliver("SAY:waited"))).result == "waited"
        done = await compacting
        assert done["outcome"] == "completed"
        assert done["context"]["window"]
        told = [event.context.lifecycle_state for event in it.events if isinstance(event, ContextUsed)]
        assert list(dict.fromkeys(told)) == ["fresh", "active", "compacting", "compacted"]


async def test_what_would_end_a_running_turn_is_refused_and_the_turn_goes_on(rig: Rig) -> None:
    async with running(rig) as it:
        one = await it.deliver("WAIT\nSAY:whole")
        await it.seen(one)
        for action in ("compact", "review", "clear", "revert"):
            with pytest.raises(ProviderRefused, match="busy"):
                await do(it, action)
        model(rig).go.set()
        ended = await it.ended(one)
        assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "whole")


async def test_a_review_has_its_own_result_and_a_message_waits_for_its_end(rig: Rig) -> None:
    async with running(rig) as it:
        review = await do(it, "review", instructions="WAIT\nSAY:looks fine")
        assert it.process.state is ProcessState.BUSY
        steered = _steer(submission("SAY:not into the review"))
        assert isinstance(await it.process.submit(steered), Held)
        model(rig).go.set()
        assert (await it.ended(await it.deliver("SAY:mine"))).result == "mine"
        (told,) = (await do(it, "turns", turnId=review["turnId"]))["turns"]
        assert (told["kind"], told["outcome"], told["result"]) == ("review", "completed", "looks fine")


async def test_a_review_can_be_of_changes_of_a_branch_or_of_a_commit(rig: Rig) -> None:
    work = rig.spec.cwd
    _git(work, "init", "-q", "-b", "main")
    _git(work, "commit", "-q", "--allow-empty", "-m", "first")
    async with running(rig) as it:
        for args in ({}, {"branch": "main"}, {"commit": _git(work, "rev-parse", "HEAD")}):
            review = await do(it, "review", **args)
            await until(lambda: it.process.state is ProcessState.IDLE)
            (told,) = (await do(it, "turns", turnId=review["turnId"]))["turns"]
            assert (told["kind"], told["outcome"]) == ("review", "completed")
        with pytest.raises(ProviderRefused, match="one target"):
            await do(it, "review", branch="main", commit="x")


async def test_a_review_can_be_interrupted(rig: Rig) -> None:
    async with running(rig) as it:
        review = await do(it, "review", instructions="WAIT\nSAY:never")
        await it.process.interrupt()
        await until(lambda: it.process.state is ProcessState.IDLE)
        (told,) = (await do(it, "turns", turnId=review["turnId"]))["turns"]
        assert told["outcome"] == "interrupted"
        assert (await it.ended(await it.deliver("SAY:next"))).result == "next"


async def test_clear_begins_an_empty_session_and_says_so(rig: Rig) -> None:
    async with running(rig) as it:
        await it.ended(await it.deliver("SAY:secret of the old one"))
        done = await do(it, "clear", archive=True)
        started = await it.event(SessionStarted, lambda event: event.session_id == done["sessionId"])
        assert started.session_id != done["formerSessionId"]
        assert (await it.ended(await it.deliver("SAY:new"))).result == "new"
        assert "secret of the old one" not in conversation(rig)
        archived = (await do(it, "sessions", archived=True))["sessions"]
        assert [one["sessionId"] for one in archived] == [done["formerSessionId"]]
        # Back again: what is archived is taken out of the archive.
        await do(it, "resume", sessionId=done["formerSessionId"])
        await it.ended(await it.deliver("SAY:back"))
        assert "secret of the old one" in conversation(rig)
        with pytest.raises(ProviderRefused, match="there is no session"):
            await do(it, "resume", sessionId="01a1fb2e-0000-7000-8000-000000000000")
        assert (await it.ended(await it.deliver("SAY:still here"))).result == "still here"


async def test_a_fork_leaves_the_agent_where_it_is_or_takes_it_along(rig: Rig) -> None:
    async with running(rig) as it:
        first = (await it.event(SessionStarted)).session_id
        await it.ended(await it.deliver("SAY:one"))
        await it.ended(await it.deliver("SAY:two"))
        aside = await do(it, "fork")
        assert (aside["forkedFromId"], aside["switched"]) == (first, False)
        await it.ended(await it.deliver("SAY:stayed"))
        (newest, *_, oldest) = (await do(it, "turns"))["turns"]
        assert newest["result"] == "stayed"
        taken = await do(it, "fork", last=oldest["turnId"], switch=True)
        await it.event(SessionStarted, lambda event: event.session_id == taken["sessionId"])
        await it.ended(await it.deliver("SAY:in the copy"))
        assert "SAY:one" in conversation(rig)
        assert "SAY:two" not in conversation(rig)


async def test_revert_takes_turns_back_and_keeps_the_session(rig: Rig) -> None:
    async with running(rig) as it:
        for word in ("one", "two", "three"):
            await it.ended(await it.deliver(f"SAY:{word}"))
        done = await do(it, "revert", turns=2)
        assert len(done["reverted"]) == 2
        assert (await it.ended(await it.deliver("SAY:four"))).result == "four"
        assert "SAY:one" in conversation(rig)
        assert "SAY:two" not in conversation(rig) and "SAY:three" not in conversation(rig)
        assert len([event for event in it.events if isinstance(event, TurnEnded) and event.nonces]) == 4
        with pytest.raises(ProviderRefused, match="there is no turn 'x'"):
            await do(it, "revert", before="x")


async def test_what_is_injected_reaches_the_model_once_as_the_developer(rig: Rig) -> None:
    async with running(rig) as it:
        given = {
            "content": ["The moon is closed.", "So is the sun."],
            "reason": "news",
            "memoryIds": ["m1"],
            "id": "n1",
        }
        assert (await do(it, "inject", **given))["count"] == 2
        assert await do(it, "inject", **given) == {"count": 0, "already": True, "woken": False}
        assert model(rig).requests == []
        await it.ended(await it.deliver("SAY:hello"))
        told = model(rig).requests[-1].instructions()
        assert told.count("The moon is closed.") == 1
        assert '<injected-context reason="news" memory-ids="m1">' in told


async def test_what_is_injected_with_a_wake_is_looked_at_and_a_long_one_lies_in_a_file(rig: Rig) -> None:
    async with running(rig) as it:
        done = await do(it, "inject", content="long " * 10_000, wake=True, id="w")
        assert done["woken"] is True
        await it.event(TurnEnded, lambda event: event.nonces == ("wake:w",))
        (file,) = AgentPaths(rig.spec.agent_dir).injected.iterdir()
        assert file.read_text() == "long " * 10_000
        assert (file.stat().st_mode & 0o777, str(file) in model(rig).requests[-1].instructions()) == (0o600, True)


async def test_an_injection_into_a_running_turn_is_taken_by_it(rig: Rig) -> None:
    async with running(rig, approval_mode="bypass") as it:
        one = await it.deliver("WAIT\nSAY:worked")
        await it.seen(one)
        await do(it, "inject", content="The moon is closed.", wake=True)
        model(rig).go.set()
        assert (await it.ended(one)).outcome is Outcome.COMPLETED
        assert "The moon is closed." in conversation(rig)
        assert len([event for event in it.events if isinstance(event, TurnEnded)]) == 1


async def test_a_shell_command_runs_for_the_person_and_the_model_sees_its_output(rig: Rig) -> None:
    async with running(rig) as it:
        done = await do(it, "shell", command="echo to both; exit 3")
        assert (done["exitCode"], done["output"], done["cut"]) == (3, "to both\n", False)
        assert it.process.state is ProcessState.IDLE
        assert (await it.ended(await it.deliver("SAY:hello"))).result == "hello"
        assert "to both" in conversation(rig)


async def test_a_read_only_agent_runs_no_shell_command(rig: Rig) -> None:
    async with running(rig, approval_mode="read-only") as it:
        with pytest.raises(ProviderRefused, match="read-only"):
            await do(it, "shell", command="touch written")


async def test_settings_hold_for_the_coming_turns(rig: Rig, tmp_path: Path) -> None:
    async with running(rig, approval_mode="read-only") as it:
        await it.ended(await it.deliver("RUN:touch written\nSAY:tried"))
        assert not (rig.spec.cwd / "written").exists()
        (tmp_path / "other").mkdir()
        await do(it, "settings", approvalMode="bypass", cwd=str(tmp_path / "other"), model="gpt-5.4", effort="low")
        for _ in range(2):
            await it.ended(await it.deliver("RUN:touch written\nSAY:done"))
        assert (tmp_path / "other" / "written").exists()
        body = model(rig).requests[-1].body
        assert (body["model"], body["reasoning"]["effort"]) == ("gpt-5.4", "low")
        modes = [
            event.values["approvalMode"] for event in it.events if isinstance(event, Learnt) and "model" in event.values
        ]
        assert (modes[0], modes[-1]) == ("read-only", "bypass"), "what is told is what is in force"
        with pytest.raises(ProviderRefused, match="approvalMode must be one of"):
            await do(it, "settings", approvalMode="whatever")


async def test_a_message_is_taken_behind_the_compaction_that_another_model_begins_with(rig: Rig) -> None:
    async with running(rig) as it:
        await it.ended(await it.deliver("SAY:one"))
        await do(it, "settings", model="gpt-6.1-sol")
        model(rig).compacts.clear()
        begun = len(model(rig).requests)
        one = await it.deliver("SAY:two")
        await until(lambda: len(model(rig).requests) > begun)
        assert model(rig).requests[-1].body["model"] == "gpt-5.5", "the old model makes the summary"
        assert (await it.process.find(one.nonce)).turn is not TurnState.ENDED
        model(rig).compacts.set()
        ended = await it.ended(one)
        assert (ended.outcome, ended.result, ended.nonces) == (Outcome.COMPLETED, "two", (one.nonce,))
        assert len([event for event in it.events if isinstance(event, TurnEnded)]) == 2
        assert model(rig).requests[-1].body["model"] == "gpt-6.1-sol"


async def test_an_output_schema_is_for_one_turn(rig: Rig) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    async with running(rig) as it:
        await do(it, "outputSchema", schema=schema)
        await it.ended(await it.deliver('SAY:{"a": "b"}'))
        assert model(rig).requests[-1].body["text"]["format"]["schema"] == schema
        await it.ended(await it.deliver("SAY:plain"))
        assert "format" not in (model(rig).requests[-1].body.get("text") or {})


async def test_a_goal_is_set_told_and_taken_away(rig: Rig) -> None:
    async with running(rig) as it:
        assert (await do(it, "goal"))["goal"] is None
        assert (await do(it, "goalSet", objective="ship it", status="paused"))["goal"]["objective"] == "ship it"
        assert (await do(it, "goal"))["goal"]["status"] == "paused"
        assert (await do(it, "goalClear"))["cleared"] is True
        assert (await do(it, "goal"))["goal"] is None


async def test_what_there_is_is_told(rig: Rig) -> None:
    async with running(rig, approval_mode="bypass") as it:
        await it.ended(await it.deliver("SAY:hello"))
        assert "relay-guide" in [one["name"].rpartition(":")[2] for one in (await do(it, "skills"))["skills"]]
        listed = (await do(it, "models"))["models"]
        assert [one["current"] for one in listed if one["model"] == "gpt-5.5"] == [True]
        assert (await do(it, "mcp"))["servers"] == []
        assert (await do(it, "mcpReload")) == {"reloaded": True}
        used = await do(it, "usage")
        assert used["session"]["total"]["totalTokens"] == 1010
        assert (used["account"], "authentication required" in used["reason"]) == (None, True)
        assert (await do(it, "limits"))["source"] == "turn"


MCP_SERVER = """\
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    result = {}
    if message["method"] == "initialize":
        result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}}
        result["capabilities"]["resources"] = {}
        result["serverInfo"] = {"name": "echo", "version": "1"}
    elif message["method"] == "tools/list":
        result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
    elif message["method"] == "tools/call":
        result = {"content": [{"type": "text", "text": json.dumps(message["params"]["arguments"])}]}
    elif message["method"] == "resources/list":
        result = {"resources": [{"uri": "echo://one", "name": "one"}]}
    elif message["method"] == "resources/templates/list":
        result = {"resourceTemplates": []}
    elif message["method"] == "resources/read":
        result = {"contents": [{"uri": message["params"]["uri"], "text": "the resource"}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


async def test_mcp_servers_are_told_and_taken_anew_from_the_settings(rig: Rig, tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text(MCP_SERVER)
    config = Path(rig.spec.environ["HOME"]) / ".codex" / "config.toml"
    async with running(rig) as it:
        assert (await do(it, "mcp"))["servers"] == []
        entry = f'\n[mcp_servers.echo]\ncommand = "{sys.executable}"\nargs = ["{program}"]\n'
        config.write_text(config.read_text() + entry)
        await do(it, "mcpReload")
        await it.ended(await it.deliver("SAY:hello"))  # the servers of a thread are started with its next turn
        (server,) = (await do(it, "mcp"))["servers"]
        assert (server["name"], server["tools"], server["error"]) == ("echo", ["echo"], None)
        asked = len(model(rig).requests)
        (said,) = (await do(it, "mcpCall", server="echo", tool="echo", arguments={"x": 1}))["content"]
        assert json.loads(said["text"]) == {"x": 1}
        (read,) = (await do(it, "mcpResource", server="echo", uri="echo://one"))["contents"]
        assert read["text"] == "the resource"
        assert len(model(rig).requests) == asked, "the model has no part in it"
        with pytest.raises(ProviderRefused, match="nobody"):
            await do(it, "mcpCall", server="nobody", tool="echo")


async def test_sessions_get_names_and_are_deleted(rig: Rig) -> None:
    async with running(rig) as it:
        await it.ended(await it.deliver("SAY:hello"))
        own = (await it.event(SessionStarted)).session_id
        copy = (await do(it, "fork", name="copy"))["sessionId"]
        await do(it, "rename", name="mine")
        await do(it, "rename", name="theirs", sessionId=copy)
        names = {one["sessionId"]: one["name"] for one in (await do(it, "sessions"))["sessions"]}
        assert (names[own], names[copy]) == ("mine", "theirs")
        assert await do(it, "delete", sessionId=copy) == {"sessionId": copy, "deleted": True}
        assert copy not in {one["sessionId"] for one in (await do(it, "sessions"))["sessions"]}
        with pytest.raises(ProviderRefused, match="the agent is using that session"):
            await do(it, "delete", sessionId=own)


async def test_what_it_may_do_what_hooks_it_and_what_other_folders_have(rig: Rig, tmp_path: Path) -> None:
    skill = tmp_path / "other" / ".agents" / "skills" / "elsewhere" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text("---\nname: elsewhere\ndescription: d\n---\nText.\n")
    (tmp_path / "other" / ".git").mkdir()
    hook = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "true", "timeout": 5}]}]}}
    (Path(rig.spec.environ["HOME"]) / ".codex" / "hooks.json").write_text(json.dumps(hook))
    async with running(rig, approval_mode="auto") as it:
        found = await do(it, "permissionProfiles")
        assert {"id": "relay-runner-workspace", "description": "", "allowed": True} in found["profiles"]
        assert found["current"] == "relay-runner-workspace"
        await do(it, "settings", sandbox="read-only", summary="detailed")
        await until(lambda: it.process._link.session.profile == "relay-runner-read-only")  # type: ignore[attr-defined]
        (told,) = (await do(it, "hooks"))["hooks"]
        assert (told["event"], told["trust"]) == ("stop", "untrusted")
        assert "elsewhere" not in {one["name"] for one in (await do(it, "skills"))["skills"]}
        there = await do(it, "skills", folders=str(tmp_path / "other"))
        assert "elsewhere" in {one["name"] for one in there["skills"]}
        await it.ended(await it.deliver("SAY:hello"))
        assert model(rig).requests[-1].body["reasoning"]["summary"] == "detailed"


async def test_what_codex_warns_of_is_told_once(rig: Rig) -> None:
    config = Path(rig.spec.environ["HOME"]) / ".codex" / "config.toml"
    config.write_text(f"no_such_setting = 1\n{config.read_text()}")
    async with running(rig, model="no-such-model") as it:
        await it.ended(await it.deliver("SAY:one"))
        await it.ended(await it.deliver("SAY:two"))
        kinds = [(event.kind, event.text) for event in it.events if isinstance(event, Warned)]
        assert len(kinds) == len(set(kinds))
        assert any(kind == "warning" and "no-such-model" in text for kind, text in kinds), kinds
        assert any("unrecognized" in text for _, text in kinds), kinds


async def test_limits_are_those_that_the_last_answer_told(rig: Rig) -> None:
    told = {"used-percent": "40", "window-minutes": "300", "reset-at": "1800000000"}
    headers = json.dumps({f"x-codex-primary-{name}": value for name, value in told.items()})
    async with running(rig) as it:
        await it.ended(await it.deliver(f"HEADERS:{headers}\nSAY:hello"))
        found = await do(it, "limits")
        window = found["limits"]["primary"]
        assert (window["usedPercent"], window["windowDurationMins"], window["resetsAt"]) == (40, 300, 1800000000)
        assert (found["source"], "authentication required" in found["reason"]) == ("turn", True)


async def test_background_commands_are_listed_and_ended(rig: Rig) -> None:
    async with running(rig, approval_mode="bypass") as it:
        await it.ended(await it.deliver('TOOL:exec_command {"cmd": "sleep 4321", "yield_time_ms": 300}\nSAY:left it'))
        (terminal,) = (await do(it, "terminals"))["terminals"]
        assert "sleep 4321" in terminal["command"]
        assert (await do(it, "terminalsClean"))["ended"] == [terminal["id"]]
        assert (await do(it, "terminals"))["terminals"] == []


def _steer(one: Submission) -> Submission:
    return replace(one, message=msgspec.structs.replace(one.message, timing=Timing.STEER))


def _git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()
