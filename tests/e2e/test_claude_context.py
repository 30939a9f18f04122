"""What the real Claude Code tells of its context, its model and what turns cost; and the user's own status line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay_runner.protocol.agents import Context
from relay_runner.providers.base import ContextUsed, Learnt, ProcessState, Seen, TurnEnded
from relay_runner.terminal.tmux import TmuxTerminals
from tests.claude import Rig, claude_environ, claude_home, started
from tests.claude import model as model
from tests.fake_models.anthropic import FakeAnthropic
from tests.terminals import shown, until
from tests.terminals import sockets as sockets
from tests.terminals import tmux as tmux

pytestmark = [pytest.mark.anyio, pytest.mark.claude]
CALL = (100, 7)
"""What the fake model says that every request used."""


def contexts(rig: Rig) -> list[Context]:
    return [event.context for event in rig.events if isinstance(event, ContextUsed)]


async def test_context_model_and_effort_are_told_by_the_status_line(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model, effort="low") as rig:
        await until(lambda: bool(contexts(rig)))
        fresh = contexts(rig)[-1]
        assert (fresh.tokens, fresh.window, fresh.lifecycle_state) == (0, 1_000_000, "fresh")
        learnt = {
            name: value for event in rig.events if isinstance(event, Learnt) for name, value in event.values.items()
        }
        assert learnt["model"].startswith("claude-opus") and learnt["effort"] == "low"
        submission = await rig.say("RUN:true\nSAY:x")
        await rig.event(TurnEnded, submission.nonce)
        await until(lambda: contexts(rig)[-1].tokens == sum(CALL))
        used = contexts(rig)[-1]
        assert (used.source, used.confidence, used.lifecycle_state) == ("statusline", "reported", "active")
        await rig.process.operate("clear", {})
        await until(lambda: contexts(rig)[-1].tokens == 0)
        assert contexts(rig)[-1].lifecycle_state == "fresh"
        screen = (await rig.terminal.capture()).text
        assert "relay-runner-hook" not in screen


async def test_a_compaction_shows_in_the_context(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        for word in ("one", "two", "three"):
            submission = await rig.say(f"RUN:true\nSAY:{word}")
            await rig.event(TurnEnded, submission.nonce)
            await rig.reach(ProcessState.IDLE)
        await until(lambda: contexts(rig)[-1].tokens == sum(CALL))
        await rig.process.operate("compact", {})
        states = [one.lifecycle_state for one in contexts(rig)]
        assert states[-2:] == ["compacting", "compacted"]
        assert contexts(rig)[-1].tokens is None


async def test_a_message_goes_through_a_compaction_that_the_program_begins_by_itself(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model, args=("--model", "claude-sonnet-5")) as rig:
        for word in ("one", "two"):
            submission = await rig.say(f"RUN:true\nSAY:{word}")
            await rig.event(TurnEnded, submission.nonce)
            await rig.reach(ProcessState.IDLE)
        model.input_tokens = int((contexts(rig)[-1].window or 0) * 0.975)
        full = await rig.say("SAY:full")
        await rig.event(TurnEnded, full.nonce)
        await until(lambda: (contexts(rig)[-1].utilisation or 0) > 0.9)
        model.input_tokens = 100
        after = await rig.say("SAY:after it")
        assert (await rig.event(TurnEnded, after.nonce)).result == "after it"
        await rig.reach(ProcessState.IDLE)
        assert rig.ends(after.nonce) == 1
        states = [one.lifecycle_state for one in contexts(rig)]
        assert states.index("compacting") < states.index("compacted")
        await until(lambda: contexts(rig)[-1].tokens == sum(CALL))
        assert contexts(rig)[-1].lifecycle_state == "active"
        assert "This session is being continued" in str(model.requests[-1].messages)


async def test_a_turn_tells_its_tokens_and_its_cost_subagents_included(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        one = await rig.say("SAY:one")
        plain = (await rig.event(TurnEnded, one.nonce)).usage
        assert plain is not None and (plain.input_tokens, plain.output_tokens) == CALL
        assert plain.cost_usd is not None and plain.cost_usd > 0
        many = await rig.say("TASK:RUN=true\nRUN:true\nSAY:two")
        ended = await rig.event(TurnEnded, many.nonce)
        usage = ended.usage
        calls = model.requests[1:]
        # Three of the turn, two of its subagent; and where the subagent works beside the turn, one about its report.
        assert len(calls) in (5, 6)
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (len(calls) * CALL[0], len(calls) * CALL[1])
        assert usage.cost_usd is not None and usage.cost_usd == pytest.approx(len(calls) * plain.cost_usd)


async def test_the_next_runner_charges_only_what_comes_after(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        before = await rig.say("SAY:one")
        await rig.event(TurnEnded, before.nonce)
        running = await rig.say("RUN:sleep 2\nSAY:two")
        await rig.event(Seen, running.nonce)
        await rig.die()
        await rig.adopt()
        usage = (await rig.event(TurnEnded, running.nonce)).usage
        assert usage is not None and (usage.input_tokens, usage.output_tokens) == (2 * CALL[0], 2 * CALL[1])


async def test_the_users_own_status_line_is_shown_with_the_same_input(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    home = claude_home(tmp_path / "home")
    (home / ".claude").mkdir()
    settings = home / ".claude" / "settings.json"
    command = "printf 'MINE %s' \"$(tr -d ' \\n' | grep -o '\"session_name\":\"[a-z]*\"')\""
    line = {"type": "command", "command": command, "padding": 3}
    settings.write_text(json.dumps({"statusLine": line}))
    before = settings.read_bytes()
    async with started(tmp_path, tmux, model, environ=claude_environ(home, model)) as rig:
        await shown(rig.terminal, '   MINE "session_name":"test"')
        await until(lambda: bool(contexts(rig)))
        assert settings.read_bytes() == before
        settings.write_text(json.dumps({"statusLine": {**line, "command": "echo OTHER"}}))
        submission = await rig.say("SAY:x")
        await rig.event(TurnEnded, submission.nonce)
        await shown(rig.terminal, "OTHER")


async def test_the_transcript_stands_in_for_a_status_line_that_does_not_come(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    """As where a policy forbids it: another file in the place of ours is the nearest thing to that."""
    home = claude_home(tmp_path / "home")
    (tmp_path / "silent.json").write_text(json.dumps({"statusLine": {"type": "command", "command": "true"}}))
    policy = (tmp_path / "silent.json").read_text()
    async with started(tmp_path, tmux, model, environ=claude_environ(home, model), settings=policy) as rig:
        submission = await rig.say("SAY:x")
        await until(lambda: bool(contexts(rig)))
        used = contexts(rig)[-1]
        models = [str(event.values["model"]) for event in rig.events if isinstance(event, Learnt)]
        # Only a mark in the model's name would say so; 2.1.332 has none.
        assert (used.tokens, used.window) == (CALL[0], 1_000_000 if models[0].endswith("[1m]") else None)
        assert (used.source, used.confidence) == ("api", "estimated")
        usage = (await rig.event(TurnEnded, submission.nonce)).usage
        assert usage is not None and usage.output_tokens == CALL[1] and usage.cost_usd is None
