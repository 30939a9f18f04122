"""Compact, clear and inject on the real Claude Code: proven by its own evidence, harmless to people and messages."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from relay_runner.errors import ProviderRefused
from relay_runner.providers.base import Held, ProcessState, Seen, SessionStarted, TurnEnded
from relay_runner.providers.claude import operations
from relay_runner.terminal.base import Key
from relay_runner.terminal.tmux import TmuxTerminals
from tests.claude import Rig, started
from tests.claude import model as model
from tests.fake_models.anthropic import FakeAnthropic
from tests.terminals import shown, until
from tests.terminals import sockets as sockets
from tests.terminals import tmux as tmux

PROMPT = "\u276f\u00a0"

pytestmark = [pytest.mark.anyio, pytest.mark.claude]


async def talk(rig: Rig, *answers: str) -> None:
    for answer in answers:
        submission = await rig.say(f"RUN:true\nSAY:{answer}")
        await rig.event(TurnEnded, submission.nonce)
        await rig.reach(ProcessState.IDLE)


async def test_compact_with_instructions_while_a_message_waits(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        with pytest.raises(ProviderRefused, match="nothing was said"):
            await rig.process.operate("compact", {})
        short = await rig.say("SAY:one")
        await rig.event(TurnEnded, short.nonce)
        with contextlib.suppress(ProviderRefused):  # so little is compacted by newer versions (2.1.332) only
            assert (await rig.process.operate("compact", {}))["sessionId"] == rig.plan.session_id
        await talk(rig, "two", "three")
        waiting = rig.message("SAY:after it")
        async with asyncio.TaskGroup() as group:
            compacting = group.create_task(rig.process.operate("compact", {"instructions": "keep the foo\nHANG:1"}))
            await until(lambda: any("keep the foo" in prompt for prompt in model.prompts_with("keep the foo")))
            held = await rig.process.submit(waiting)
            assert isinstance(held, Held)
            await rig.submit(waiting)
            assert compacting.done()
        assert (await compacting)["sessionId"] == rig.plan.session_id
        assert (await rig.event(TurnEnded, waiting.nonce)).result == "after it"
        conversation = str(model.requests[-1].messages)
        assert "This session is being continued from a previous conversation" in conversation
        assert model.times_in_conversation(waiting.nonce) == 1


async def test_a_compaction_that_fails_says_why(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        await talk(rig, "one", "two", "three")
        compacted_before = len([event for event in rig.events if isinstance(event, SessionStarted)])
        # The directive stands at the start of a line of the program's own prompt for the summary.
        with pytest.raises(ProviderRefused, match=r"Claude Code says: .*(?:fake error|API Error|Error)"):
            await rig.process.operate("compact", {"instructions": "FAIL:400"})
        await rig.reach(ProcessState.IDLE)
        assert len([event for event in rig.events if isinstance(event, SessionStarted)]) == compacted_before
        await talk(rig, "it goes on")


async def test_clear_forgets_the_conversation_and_tells_the_new_session(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        before = await rig.say("SAY:a secret word")
        await rig.event(TurnEnded, before.nonce)
        await rig.reach(ProcessState.IDLE)
        result = await rig.process.operate("clear", {})
        assert result["previousSessionId"] == rig.plan.session_id != result["sessionId"]
        begun = [event for event in rig.events if isinstance(event, SessionStarted)][-1]
        # The state file can change before the hook comes (2.1.332).
        assert begun.session_id == result["sessionId"] and begun.source in ("clear", "state-file")
        after = await rig.say("SAY:fresh")
        assert (await rig.event(TurnEnded, after.nonce)).result == "fresh"
        assert "a secret word" not in str(model.requests[-1].messages)
        assert (await rig.process.find(before.nonce)).result == "a secret word"
        session = result["sessionId"]
    async with started(tmp_path, tmux, model, resume_session=session) as rig:
        assert rig.plan.resumed
        await talk(rig, "resumed")
        conversation = str(model.requests[-1].messages)
        assert "fresh" in conversation
        assert "a secret word" not in conversation


async def test_a_persons_draft_and_a_running_turn_are_not_touched(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        await talk(rig, "one")
        await rig.terminal.type("half a li")
        await shown(rig.terminal, PROMPT + "half a li")
        for action in operations.TYPED:
            with pytest.raises(ProviderRefused, match="person typing"):
                await rig.process.operate(action, {})
        await rig.terminal.type("ne")
        await shown(rig.terminal, PROMPT + "half a line")
        await rig.terminal.press(Key.CTRL_C)
        busy = await rig.say("RUN:sleep 5\nSAY:undisturbed")
        await rig.event(Seen, busy.nonce)
        for action in operations.TYPED:
            with pytest.raises(ProviderRefused, match="Claude Code is busy"):
                await rig.process.operate(action, {})
        assert (await rig.event(TurnEnded, busy.nonce)).result == "undisturbed"


async def test_injected_words_reach_the_model_once_with_the_next_prompt(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        args = {"content": ["the build is red", "bob is away"], "reason": "morning notes", "memoryIds": ["m7"]}
        assert await rig.process.operate("inject", args) == {"count": 2, "waiting": 2}
        assert len(model.requests) == 0
        await rig.die()
        await rig.adopt()
        await talk(rig, "one")
        (block,) = model.prompts_with("the build is red")
        assert 'reason="morning notes" memories="m7">\nthe build is red' in block
        assert "bob is away" in block
        assert block.startswith("<system-reminder>") or "hook additional context" in block
        await until(lambda: not (rig.spec.agent_dir / "claude-injections.json").exists())
        await talk(rig, "two")
        assert model.times_in_conversation("the build is red") == 1
