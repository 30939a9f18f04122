"""The Claude Code provider on the real program, in a real tmux, against a fake model."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
import uuid
from pathlib import Path
from typing import cast

import pytest

from relay_runner.errors import ProviderExited, ProviderNotReady
from relay_runner.protocol.envelope import body_text
from relay_runner.protocol.messages import Outcome, Timing
from relay_runner.protocol.permissions import Decision
from relay_runner.providers.base import (
    Answer,
    Degraded,
    Held,
    Learnt,
    PermissionAsked,
    PermissionClosed,
    ProcessState,
    Seen,
    SessionStarted,
    StateChanged,
    SubagentEnded,
    SubagentStarted,
    TurnEnded,
    TurnStarted,
    TurnState,
)
from relay_runner.providers.claude import ClaudeProvider, draft, paste, pending
from relay_runner.providers.claude.asks import Ask
from relay_runner.providers.claude.carried import BEGIN_GRACE_S
from relay_runner.providers.claude.process import ClaudeProcess
from relay_runner.providers.claude.screen import input_row
from relay_runner.terminal.base import Key, TerminalSpec
from relay_runner.terminal.tmux import TmuxTerminal, TmuxTerminals
from tests.claude import Rig, claude_environ, claude_home, plugin_copy, started
from tests.claude import model as model
from tests.fake_models.anthropic import FakeAnthropic
from tests.terminals import shown, until
from tests.terminals import sockets as sockets
from tests.terminals import tmux as tmux

PROMPT = "\u276f\u00a0"

pytestmark = [pytest.mark.anyio, pytest.mark.claude]


# --- starting ---------------------------------------------------------------------------------------------------------


async def test_a_first_start_shows_no_dialog(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        assert rig.process.state is ProcessState.IDLE
        begun = await rig.event(SessionStarted)
        assert begun.session_id == rig.plan.session_id
        assert begun.source == "startup" and str(begun.model).startswith("claude-opus-")
        assert (await rig.event(Learnt)).values["model"] == begun.model
        assert rig.control.endpoint.secret not in " ".join(rig.plan.argv)
        submission = await rig.say("SAY:ready")
        await rig.event(TurnEnded, submission.nonce)
        assert "You are the agent `test` on a relay." in str(model.requests[0].messages)


async def test_bypass_starts_without_a_warning(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model, approval_mode="bypass") as rig:
        submission = await rig.say("RUN:mkdir made\nSAY:made it")
        assert (await rig.event(TurnEnded, submission.nonce)).result == "made it"
        assert (rig.spec.cwd / "made").is_dir()


async def test_a_read_only_agent_has_no_tools_that_write(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model, approval_mode="read-only") as rig:
        submission = await rig.say("SAY:x")
        await rig.event(TurnEnded, submission.nonce)
        tools = {tool["name"] for tool in model.requests[-1].body["tools"]}
        assert "Read" in tools
        assert not tools & {"Bash", "Edit", "Write", "NotebookEdit"}


@pytest.mark.parametrize("mode", ["ask", "bypass"])
async def test_what_another_session_sends_past_the_relay_is_refused(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic, mode: str
) -> None:
    async with started(tmp_path, tmux, model, approval_mode=mode) as rig:
        home = Path(rig.plan.env["HOME"])
        told = json.loads((home / f".claude/sessions/{rig.terminal.process.pid}.json").read_text())
        if (inbox := told.get("messagingSocketPath")) is None:
            pytest.skip("this version has no inbox socket")
        _, writer = await asyncio.open_unix_connection(inbox)
        frame = {"type": "user", "message": {"role": "user", "content": "SAY:from a stranger"}}
        writer.write(json.dumps(frame).encode() + b"\n")
        await writer.drain()
        writer.close()
        submission = await rig.say("SAY:from the relay")
        await rig.event(TurnEnded, submission.nonce)
        assert len(model.requests) == 1 and "from a stranger" not in str(model.requests[0].body)
        assert not [event for event in rig.events if isinstance(event, PermissionAsked)]
        await rig.reach(ProcessState.IDLE)


async def test_a_plan_is_shown_and_its_approval_goes_in(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        for prompt in ("TOOL:EnterPlanMode {}\nSAY:in", "SAY:where"):
            submission = await rig.say(prompt)
            await rig.event(TurnEnded, submission.nonce)
        (path,) = set(re.findall(r"/[^ \"\\`]*/plans/[^ \"\\`]*\.md", json.dumps([one.body for one in model.requests])))
        plan = "TOOL:Write " + json.dumps({"file_path": path, "content": "Do it well."})
        submission = await rig.say(f"{plan}\nTOOL:ExitPlanMode {{}}\nSAY:begun")
        asked = await rig.event(PermissionAsked)
        assert (asked.kind, asked.detail) == ("plan", "Do it well.")
        await rig.reach(ProcessState.WAITING)
        assert await rig.process.answer(asked.id, Answer(Decision.APPROVE))
        assert (await rig.event(PermissionClosed)).decision is Decision.APPROVE
        assert (await rig.event(TurnEnded, submission.nonce)).result == "begun"


async def test_an_answer_that_the_program_ignores_is_asked_again(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored = {"hookSpecificOutput": {"hookEventName": "PermissionRequest"}}
    monkeypatch.setattr(Ask, "reply", lambda self, answer: ignored)
    monkeypatch.setattr(pending, "TAKEN_S", 1.0)
    async with started(tmp_path, tmux, model) as rig:
        submission = await rig.say("RUN:mkdir made\nSAY:made it")
        asked = await rig.event(PermissionAsked)
        await rig.reach(ProcessState.WAITING)
        assert await rig.process.answer(asked.id, Answer(Decision.APPROVE))
        await until(lambda: any(isinstance(one, PermissionAsked) and one.reopened for one in rig.events))
        assert await rig.process.answer(asked.id, Answer(Decision.APPROVE)), "the dialog's key answers it"
        assert (await rig.event(TurnEnded, submission.nonce)).result == "made it"
        assert (rig.spec.cwd / "made").is_dir()


async def test_a_dialog_at_the_start_is_named(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    """The check lets it pass (an ancestor of the folder seems trusted), but the program asks about its servers."""
    home = claude_home(tmp_path / "home")
    main = json.loads((home / ".claude.json").read_text())
    work = tmp_path / "work"
    work.mkdir()
    (work / ".mcp.json").write_text(json.dumps({"mcpServers": {"s": {"command": "true"}}}))
    main["projects"] = {str(work): {"hasTrustDialogAccepted": True}}
    (home / ".claude.json").write_text(json.dumps(main))
    environ = claude_environ(home, model)
    async with started(tmp_path, tmux, model, ready=False, trust_folder=False, environ=environ) as rig:
        with pytest.raises(ProviderNotReady, match=r"asks about the servers in \.mcp\.json"):
            await rig.process.ready()


async def test_a_folder_that_is_not_trusted_is_named(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    """As after a start in which the check was wrong: the screen is what counts."""
    environ = claude_environ(claude_home(tmp_path / "home"), model)
    async with started(tmp_path, tmux, model, ready=False, environ=environ) as rig:
        await rig.process.ready()
        await rig.terminal.terminate()
        env = {name: value for name, value in rig.plan.env.items() if name != "CLAUDE_CODE_SANDBOXED"}
        run_dir = tmp_path / "run-two"
        run_dir.mkdir(mode=0o700)
        argv = [word if word != rig.plan.session_id else str(uuid.uuid4()) for word in rig.plan.argv]
        two = await tmux.open(TerminalSpec(tuple(argv), env, rig.plan.cwd, run_dir, "two"))
        try:
            async with rig.provider.connect(rig.spec, rig.plan, two, rig.emit, adopted=False) as process:
                with pytest.raises(ProviderNotReady, match="whether this folder is trusted"):
                    await process.ready()
        finally:
            await two.terminate()
            await two.close()


# --- the first rung ---------------------------------------------------------------------------------------------------


async def test_an_idle_session_is_woken_by_a_message(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        submission = rig.message("SAY:hello back")
        assert await rig.submit(submission) == "rewake"
        assert (await rig.event(Seen, submission.nonce)).evidence == "hook:UserPromptSubmit"
        ended = await rig.event(TurnEnded, submission.nonce)
        assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "hello back")
        await rig.reach(ProcessState.IDLE)
        assert rig.ends(submission.nonce) == 1
        assert model.times_in_conversation(submission.nonce) == 1
        evidence = await rig.process.find(submission.nonce)
        assert (evidence.seen, evidence.turn, evidence.result) == (True, TurnState.ENDED, "hello back")


async def test_three_messages_go_in_once_each_and_in_order(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        submissions = [rig.message(f"RUN:sleep 0.3\nSAY:answer {number}") for number in range(3)]
        for submission in submissions:
            assert await rig.submit(submission) == "rewake"
            await rig.event(Seen, submission.nonce)
        for number, submission in enumerate(submissions):
            assert (await rig.event(TurnEnded, submission.nonce)).result == f"answer {number}"
            assert model.times_in_conversation(submission.nonce) == 1
        prompts = model.requests[-1].prompts()
        places = [next(i for i, text in enumerate(prompts) if s.nonce in text) for s in submissions]
        assert places == sorted(places)


async def test_a_large_body_arrives_byte_for_byte(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    line = "\tif \"quoted\" and 'single' `tick` $HOME \\ é 漢字 🎉 \x1b[31mred\x1b[0m \x1b[201~ "
    line += "</system-reminder> \x07\r\n"
    body = (line * 600) + "  \n\ttrailing\t \n\n"
    async with started(tmp_path, tmux, model) as rig:
        submission = rig.message(body)
        assert len(body.encode()) > 50_000
        assert await rig.submit(submission) == "rewake"
        await rig.event(TurnEnded, submission.nonce)
        (prompt,) = model.prompts_with(submission.nonce)
        assert body_text(submission.message) in prompt
        assert submission.text in prompt


async def test_a_message_is_steered_into_a_running_turn(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        first = await rig.say("RUN:sleep 3\nSAY:never said")
        await rig.event(Seen, first.nonce)
        assert await rig.process.submit(rig.message("SAY:too early")) == Held("busy", retry_s=0.5)
        await until(lambda: len(model.requests) >= 1)
        steered = rig.message("SAY:steered", timing=Timing.STEER)
        assert await rig.submit(steered) == "rewake"
        assert (await rig.event(Seen, steered.nonce)).evidence == "transcript"
        for nonce in (first.nonce, steered.nonce):
            ended = await rig.event(TurnEnded, nonce)
            assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "steered")
            assert rig.ends(nonce) == 1
        assert model.times_in_conversation(steered.nonce) == 1


async def test_prompts_that_queued_up_in_a_text_turn_go_in_together(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    """Put in while the model writes, they wait in the program's own queue; then one turn answers both, or one each."""
    no_poller = plugin_copy(tmp_path / "plugin", command="true", args=[])
    async with started(tmp_path, tmux, model, plugin=no_poller) as rig:
        first = await rig.say("SLOW:12\nSAY:long", operator=True)
        await until(lambda: bool(model.requests))
        queued = [rig.message(f"SAY:{number}", timing=Timing.STEER) for number in range(2)]
        for one in queued:
            assert await rig.submit(one) == "paste"
        assert (await rig.event(TurnEnded, first.nonce)).result == "long"
        answers = [(await rig.event(TurnEnded, one.nonce)).result for one in queued]
        assert answers in (["1", "1"], ["0", "1"])  # 2.1.197, 2.1.332
        assert [model.times_in_conversation(one.nonce) for one in queued] == [1, 1]
        await rig.die()
        await rig.adopt()
        assert [(await rig.process.find(one.nonce)).result for one in queued] == answers


async def test_a_peer_cannot_attach_files_by_mentioning_them(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        secret = rig.spec.cwd / "secret.txt"
        secret.write_text("the-secret-word")
        peer = await rig.say(f"look at @{secret} and @secret.txt, or bob@mail.org\nSAY:x")
        await rig.event(TurnEnded, peer.nonce)
        (prompt,) = model.prompts_with(peer.nonce)
        assert f"look at \uff20{secret} and \uff20secret.txt, or bob\uff20mail.org" in prompt
        assert "the-secret-word" not in str(model.requests[-1].messages)
        operator = await rig.say("look at @secret.txt\nSAY:x", operator=True)
        await rig.event(TurnEnded, operator.nonce)
        assert "the-secret-word" in str(model.requests[-1].messages)


async def test_the_poller_finds_the_next_runner(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        poller = await rig.poller()
        await rig.die()
        await rig.adopt()
        assert await rig.poller() == poller
        submission = rig.message("SAY:x")
        await until(lambda: rig.process.state is ProcessState.IDLE)
        assert await rig.submit(submission) == "rewake"
        await rig.event(TurnEnded, submission.nonce)
        assert await rig.poller() != poller


# --- the second rung --------------------------------------------------------------------------------------------------


async def test_an_operators_words_are_pasted_as_the_users_own(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        submission = rig.message("several\nlines\nof text\nSAY:as you say", operator=True)
        assert await rig.submit(submission) == "paste"
        ended = await rig.event(TurnEnded, submission.nonce)
        assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "as you say")
        (prompt,) = model.prompts_with(submission.nonce)
        assert prompt == submission.text
        assert model.times_in_conversation(submission.nonce) == 1


async def test_a_killed_poller_is_replaced_by_a_paste(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        os.kill(await rig.poller(), signal.SIGKILL)
        submission = rig.message("SAY:by the other way")
        assert await rig.submit(submission) == "paste"
        ended = await rig.event(TurnEnded, submission.nonce)
        assert ended.result == "by the other way"
        await rig.reach(ProcessState.IDLE)
        assert model.times_in_conversation(submission.nonce) == 1
        # The next turn armed a new poller.
        after = rig.message("SAY:again")
        assert await rig.submit(after) == "rewake"
        await rig.event(TurnEnded, after.nonce)


async def test_a_poller_that_timed_out_is_replaced_by_a_paste(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    plugin = plugin_copy(tmp_path / "plugin", timeout=2)
    async with started(tmp_path, tmux, model, plugin=plugin) as rig:
        await rig.poller()
        await until(lambda: rig.pollers() == [])
        submission = rig.message("SAY:late")
        assert await rig.submit(submission) == "paste"
        assert (await rig.event(TurnEnded, submission.nonce)).result == "late"
        assert model.times_in_conversation(submission.nonce) == 1


async def test_a_half_typed_line_survives(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        await rig.terminal.type("half a line")
        await shown(rig.terminal, PROMPT + "half a line")
        woken = rig.message("SAY:woken")
        assert await rig.submit(woken) == "rewake"
        await rig.event(TurnEnded, woken.nonce)
        await rig.reach(ProcessState.IDLE)
        operator = rig.message("SAY:x", operator=True)

        async def typing() -> bool:
            held = await rig.process.submit(operator)
            assert isinstance(held, Held), held
            return held.reason == "person typing"  # and not that the turn's end is not on the state file yet

        await until(typing)
        await shown(rig.terminal, PROMPT + "half a line")
        assert not model.prompts_with("half a line")


async def test_a_line_left_half_typed_is_stashed_and_comes_back(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft, "TYPING_HOLD_S", 1.0)
    monkeypatch.setattr(draft, "STILL_S", 0.5)
    async with started(tmp_path, tmux, model) as rig:
        await rig.terminal.type("half a line")
        await shown(rig.terminal, PROMPT + "half a line")
        operator = rig.message("SAY:said", operator=True)
        assert await rig.submit(operator) == "paste"
        assert (await rig.event(TurnEnded, operator.nonce)).result == "said"
        await shown(rig.terminal, PROMPT + "half a line")
        assert model.prompts_with(operator.nonce) == {operator.text}


async def test_no_enter_is_pressed_into_a_dialog(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        asking = await rig.say("RUN:mkdir approved")
        await rig.reach(ProcessState.WAITING)
        changed = [event for event in rig.events if isinstance(event, StateChanged)][-1]
        assert (changed.source, changed.detail) == ("state-file", "permission prompt")
        for timing in (Timing.QUEUE, Timing.STEER):
            assert await rig.process.submit(rig.message("SAY:x", timing=timing)) == Held("dialog open")
        assert await rig.process.submit(rig.message("SAY:x", operator=True)) == Held("dialog open")
        await shown(rig.terminal, "Do you want to proceed?")
        assert not (rig.spec.cwd / "approved").exists()
        await rig.process.interrupt()
        assert (await rig.event(TurnEnded, asking.nonce)).outcome is Outcome.INTERRUPTED
        assert not (rig.spec.cwd / "approved").exists()


async def test_a_dialog_that_a_person_opened_holds_too(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        await rig.terminal.type("/help")
        await shown(rig.terminal, PROMPT + "/help")
        await rig.terminal.press(Key.ENTER)
        await rig.reach(ProcessState.WAITING)
        assert await rig.process.submit(rig.message("SAY:x", operator=True)) == Held("dialog open")
        await rig.terminal.press(Key.ESCAPE)
        await rig.reach(ProcessState.IDLE)
        after = await rig.say("SAY:after", operator=True)
        assert (await rig.event(TurnEnded, after.nonce)).result == "after"


@pytest.mark.parametrize("asked", ["ask", "accept-edits"])
async def test_the_mode_that_is_reported_is_the_one_that_it_is_in(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic, asked: str
) -> None:
    async with started(tmp_path, tmux, model, approval_mode=asked) as rig:
        await rig.event(TurnEnded, (await rig.say("SAY:one")).nonce)
        assert _modes(rig) == [], "it is in the mode that was asked for"
        await cast(TmuxTerminal, rig.terminal)._run("send-keys", "-t", rig.terminal.saved.pane or "", "BTab")
        await rig.event(TurnEnded, (await rig.say("SAY:two")).nonce)
        await until(lambda: _modes(rig) == ["accept-edits" if asked == "ask" else "plan"])


def _modes(rig: Rig) -> list[str]:
    learnt = (one.values for one in rig.events if isinstance(one, Learnt))
    return [str(values["approvalMode"]) for values in learnt if "approvalMode" in values]


async def test_a_view_that_no_person_looks_at_is_left(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paste, "VIEW_S", 1.0)
    async with started(tmp_path, tmux, model) as rig:
        first = await rig.say("SAY:something to look at")
        await rig.event(TurnEnded, first.nonce)
        await rig.reach(ProcessState.IDLE)
        await cast(TmuxTerminal, rig.terminal)._run("send-keys", "-t", rig.terminal.saved.pane or "", "C-o")
        await until(lambda: _hidden(rig))
        submission = await rig.say("SAY:here", operator=True)
        assert (await rig.event(TurnEnded, submission.nonce)).result == "here"


async def _hidden(rig: Rig) -> bool:
    return input_row(await rig.terminal.capture()) is None


async def test_without_hooks_messages_still_go_in_with_proof(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_runner.providers.claude.start.HOOKS_S", 1.0)
    home = claude_home(tmp_path / "home")
    (home / ".claude").mkdir()
    (home / ".claude" / "settings.json").write_text('{"disableAllHooks": true}')
    async with started(tmp_path, tmux, model, environ=claude_environ(home, model)) as rig:
        assert "hooks" in str((await rig.event(Degraded)).reason)
        submission = rig.message("RUN:sleep 1\nSAY:without hooks")
        assert await rig.submit(submission) == "paste"
        assert (await rig.event(Seen, submission.nonce)).evidence == "transcript"
        ended = await rig.event(TurnEnded, submission.nonce)
        assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "without hooks")
        assert rig.ends(submission.nonce) == 1
        # The next one comes after an idle time that is longer than any patience with an idle program.
        await until(lambda: time.time() - (rig.process._tracker.idle_since() or time.time()) > BEGIN_GRACE_S)
        later = rig.message("SLOW:2\nSAY:after a while")
        await rig.submit(later)
        ended = await rig.event(TurnEnded, later.nonce)
        assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "after a while")


# --- how turns end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["SLOW:20\nSAY:a long text", "RUN:sleep 20", "HANG:20"])
async def test_an_interrupted_turn_says_so(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic, body: str
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        submission = await rig.say(body)
        await rig.event(Seen, submission.nonce)
        await until(lambda: bool(model.requests))
        await rig.process.interrupt()
        assert (await rig.event(TurnEnded, submission.nonce)).outcome is Outcome.INTERRUPTED
        assert rig.process.state is ProcessState.IDLE
        after = await rig.say("SAY:still here")
        assert (await rig.event(TurnEnded, after.nonce)).result == "still here"
        assert rig.ends(submission.nonce) == 1


async def test_a_prompt_taken_back_before_the_first_word_is_interrupted_and_cleared(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    """Escape in that moment puts the text back into the input row, where an Enter would send it a second time."""
    async with started(tmp_path, tmux, model) as rig:
        submission = await rig.say("HANG:20", operator=True)
        await rig.terminal.press(Key.ESCAPE)
        ended = await rig.event(TurnEnded, submission.nonce)
        assert ended.outcome is Outcome.INTERRUPTED
        await rig.reach(ProcessState.IDLE)
        after = await rig.say("SAY:after", operator=True)
        assert (await rig.event(TurnEnded, after.nonce)).result == "after"
        assert (await rig.process.find(submission.nonce)).outcome is Outcome.INTERRUPTED
        await rig.die()
        await rig.adopt()
        assert (await rig.process.find(submission.nonce)).outcome is Outcome.INTERRUPTED
        assert (await rig.process.find(after.nonce)).result == "after"


async def test_interrupt_timing_ends_the_turn_first(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        first = await rig.say("RUN:sleep 30")
        await rig.event(Seen, first.nonce)
        await until(lambda: bool(model.requests))
        urgent = await rig.say("SAY:at once", timing=Timing.INTERRUPT)
        assert (await rig.event(TurnEnded, urgent.nonce)).result == "at once"
        assert (await rig.event(TurnEnded, first.nonce)).outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize(("code", "kind"), [(400, "400"), (429, "rate-limited"), (529, "overloaded")])
async def test_an_api_error_fails_the_turn_with_its_reason(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic, code: int, kind: str
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        submission = await rig.say(f"FAIL:{code}")
        ended = await rig.event(TurnEnded, submission.nonce)
        assert ended.outcome is Outcome.FAILED
        assert ended.result is None
        assert kind in str(ended.reason)
        evidence = await rig.process.find(submission.nonce)
        assert evidence.outcome is Outcome.FAILED


@pytest.mark.parametrize("error", ["FAIL:400", "FAIL:402", "FAIL:429"])
async def test_what_the_input_row_hints_at_after_an_error_holds_nothing(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic, error: str
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        failed = await rig.say(error, operator=True)
        assert (await rig.event(TurnEnded, failed.nonce)).outcome is Outcome.FAILED
        await rig.reach(ProcessState.IDLE)
        after = rig.message("SAY:here", operator=True)
        async with asyncio.timeout(draft.TYPING_HOLD_S / 2):
            assert await rig.submit(after) == paste.CHANNEL
        assert (await rig.event(TurnEnded, after.nonce)).result == "here"


async def test_a_background_agent_holds_the_turn(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        submission = await rig.say("BGTASK:RUN=sleep 3\nSAY:waiting for it")
        started_one = await rig.event(SubagentStarted)
        assert started_one.role == "general-purpose"
        await until(lambda: "waiting for it" in transcript(rig))
        assert rig.process.state is ProcessState.BUSY
        assert rig.ends(submission.nonce) == 0
        ended = await rig.event(TurnEnded, submission.nonce)
        assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "ok")
        assert SubagentEnded(started_one.id, "hook:SubagentStop") in rig.events
        assert rig.ends(submission.nonce) == 1


async def test_a_killed_background_agent_does_not_keep_it_busy(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model, approval_mode="bypass") as rig:
        submission = await rig.say("BGTASK:RUN=tail -f /dev/null\nSAY:waiting for it")
        working = await rig.event(SubagentStarted)
        await until(lambda: "waiting for it" in transcript(rig))
        stop = await rig.say(f'TOOL:TaskStop {{"task_id": "{working.id}"}}\nSAY:killed it', timing=Timing.STEER)
        await rig.event(TurnEnded, stop.nonce)
        await rig.reach(ProcessState.IDLE)
        assert rig.ends(submission.nonce) == 1
        ended = [event.id for event in rig.events if isinstance(event, SubagentEnded)]
        assert ended and set(ended) <= {working.id, None}


async def test_a_background_shell_does_not_hold_the_turn(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    arguments = json.dumps({"command": "sleep 60", "description": "x", "run_in_background": True})
    async with started(tmp_path, tmux, model) as rig:
        submission = await rig.say(f"TOOL:Bash {arguments}\nSAY:it runs")
        assert (await rig.event(TurnEnded, submission.nonce)).result == "it runs"
        await rig.reach(ProcessState.IDLE)


async def test_clear_begins_a_new_session(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        first = await rig.say("SAY:before")
        await rig.event(TurnEnded, first.nonce)
        await rig.reach(ProcessState.IDLE)
        await rig.terminal.type("/clear")
        await shown(rig.terminal, PROMPT + "/clear")
        await rig.terminal.press(Key.ENTER)
        await until(lambda: len([e for e in rig.events if isinstance(e, SessionStarted)]) == 2)
        begun = [event for event in rig.events if isinstance(event, SessionStarted)][-1]
        assert begun.source == "clear"
        assert begun.session_id != rig.plan.session_id
        after = await rig.say("SAY:after")
        assert (await rig.event(TurnEnded, after.nonce)).result == "after"
        for submission, result in ((first, "before"), (after, "after")):
            assert (await rig.process.find(submission.nonce)).result == result


# --- another runner ---------------------------------------------------------------------------------------------------


async def test_an_adopted_process_settles_what_ended_meanwhile(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        first = await rig.say("RUN:sleep 1\nSAY:nobody listened")
        await rig.event(Seen, first.nonce)
        ended = "nobody listened"
        await rig.die()
        await until(lambda: "turn_duration" in transcript(rig))
        await rig.adopt()
        evidence = await rig.process.find(first.nonce)
        assert (evidence.turn, evidence.outcome, evidence.result) == (TurnState.ENDED, Outcome.COMPLETED, ended)
        assert evidence.usage is not None and evidence.usage.output_tokens == 2 * 7
        assert not (await rig.process.find("never-sent")).seen
        after = await rig.say("SAY:goes on")
        assert (await rig.event(TurnEnded, after.nonce)).result == "goes on"
        assert rig.ends(first.nonce) == 0


async def test_an_adopted_process_goes_on_with_a_running_turn(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        first = await rig.say("RUN:sleep 4\nSAY:heard in the end")
        await rig.event(Seen, first.nonce)
        await until(lambda: "sleep 4" in transcript(rig))
        await rig.die()
        await rig.adopt()
        assert (await rig.process.find(first.nonce)).turn is TurnState.RUNNING
        assert first.nonce in (await rig.event(TurnStarted)).nonces
        ended = await rig.event(TurnEnded, first.nonce)
        assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "heard in the end")
        assert rig.ends(first.nonce) == 1


async def test_a_program_that_is_ended_right_after_a_turn_keeps_it(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        submission = await rig.say("SAY:keep this")
        process = cast(ClaudeProcess, rig.process)
        async with asyncio.timeout(30):
            while not process._closing.waiting:  # noqa: ASYNC110 - the very moment in which the hook says so
                await asyncio.sleep(0)
        await rig.process.quit()
        await rig.terminal.wait_exit()
        assert (await rig.event(TurnEnded, submission.nonce)).result == "keep this"
        assert "turn_duration" in transcript(rig)


async def test_a_dead_process_answers_for_its_turns(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        done = await rig.say("SAY:done")
        await rig.event(TurnEnded, done.nonce)
        cut = await rig.say("RUN:tail -f /dev/null")
        await rig.event(Seen, cut.nonce)
        await until(lambda: '"command":"tail -f' in transcript(rig))
        os.kill(rig.terminal.process.pid, signal.SIGKILL)
        await rig.terminal.wait_exit()
        assert (await rig.process.find(done.nonce)).result == "done"
        evidence = await rig.process.find(cut.nonce)
        assert (evidence.turn, evidence.outcome) == (TurnState.ENDED, Outcome.FAILED)


async def test_a_session_is_resumed_under_its_id(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        session_id = rig.plan.session_id
        first = await rig.say("SAY:remember me")
        await rig.event(TurnEnded, first.nonce)
    async with started(tmp_path, tmux, model, resume_session=session_id) as rig:
        assert rig.plan.resumed
        begun = await rig.event(SessionStarted)
        assert (begun.session_id, begun.source) == (session_id, "resume")
        again = await rig.say("SAY:I do")
        assert (await rig.event(TurnEnded, again.nonce)).result == "I do"
        assert model.times_in_conversation(first.nonce) == 1
        assert (await rig.process.find(first.nonce)).result == "remember me"
        assert rig.ends(first.nonce) == 0


async def test_a_session_in_which_nothing_was_said_begins_again(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    session_id = str(uuid.uuid4())
    async with started(tmp_path, tmux, model, resume_session=session_id) as rig:
        assert not rig.plan.resumed
        assert "has no transcript" in rig.plan.notes[0]
        assert (await rig.event(SessionStarted)).session_id == session_id


async def test_a_session_of_another_folder_is_explained(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    session_id = str(uuid.uuid4())
    elsewhere = tmp_path / "home" / ".claude" / "projects" / "-elsewhere"
    elsewhere.mkdir(parents=True)
    (elsewhere / f"{session_id}.jsonl").write_text("{}\n")
    async with started(tmp_path, tmux, model, ready=False, resume_session=session_id) as rig:
        with pytest.raises(ProviderExited, match=f"no conversation {session_id} in this folder") as caught:
            await rig.process.ready()
        assert caught.value.exit_code == 1
        assert ClaudeProvider().lost_session(rig.plan, await rig.terminal.capture())


def transcript(rig: Rig) -> str:
    """Return the text of the session's transcript."""
    files = (Path(rig.spec.environ["HOME"]) / ".claude" / "projects").glob(f"*/{rig.plan.session_id}.jsonl")
    return "".join(file.read_text() for file in files)
