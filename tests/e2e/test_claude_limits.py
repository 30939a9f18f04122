"""The model's side says no to the real Claude Code: which failures are limits, until when, and what follows from it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import ProcessState, TurnEnded
from relay_runner.terminal.tmux import TmuxTerminals
from tests.claude import claude_environ, claude_home, started
from tests.claude import model as model
from tests.fake_models.anthropic import FakeAnthropic
from tests.harness import home
from tests.terminals import sockets as sockets
from tests.terminals import tmux as tmux

pytestmark = [pytest.mark.anyio, pytest.mark.claude]


async def test_failures_are_named_and_limits_tell_their_end(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    resets = datetime.fromtimestamp(time.time() + 7200, UTC).replace(minute=0, second=0, microsecond=0)
    model.errors[429] = f"You've hit your session limit. It resets {resets:%-I%p} (UTC)"
    expected = {
        429: ("rate-limited: ", resets.timestamp()),
        529: ("overloaded: ", None),
        401: ("auth-failed: ", None),
        500: ("server-error: ", None),
        400: ("unknown: API Error: 400", None),
    }
    async with started(tmp_path, tmux, model) as rig:
        for code, (kind, until) in expected.items():
            submission = await rig.say(f"FAIL:{code}")
            ended = await rig.event(TurnEnded, submission.nonce)
            assert ended.outcome is Outcome.FAILED
            assert str(ended.reason).startswith(kind)
            assert (ended.limit is not None) == (code in (429, 529)), ended
            assert ended.limit is None or ended.limit.until == until
            found = await rig.process.find(submission.nonce)
            assert (found.outcome, found.limit) == (Outcome.FAILED, ended.limit)
            await rig.reach(ProcessState.IDLE)


async def test_a_conversation_that_is_too_long_says_so(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    model.errors[400] = "prompt is too long: 250000 tokens > 200000 maximum"
    async with started(tmp_path, tmux, model) as rig:
        submission = await rig.say("FAIL:400")
        ended = await rig.event(TurnEnded, submission.nonce)
        assert (ended.outcome, ended.limit) == (Outcome.FAILED, None)
        assert str(ended.reason).startswith("context-window: ")


@pytest.mark.slow
def test_a_limited_message_is_held_and_continued_and_never_put_in_again(tmp_path: Path, model: FakeAnthropic) -> None:
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), model)) as place:
        place.state.mkdir(parents=True, exist_ok=True)
        (place.state / "config.toml").write_text("[limits]\nleast_s = 2\n")
        place.start("cc", "claude", "--trust-folder")
        limited = place.send("cc", "FAIL:429")
        place.reaches(limited, "seen")
        waiting = place.send("cc", "SAY:after the limit")
        delivery = place.settled(limited)
        assert (delivery["state"], delivery["outcome"], delivery["result"]) == ("done", "completed", "ok")
        assert place.settled(waiting)["result"] == "after the limit"
        assert model.times_in_conversation("FAIL:429") == 1
