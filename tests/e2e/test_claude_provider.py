"""The Claude Code provider on the real program, in a real tmux, against a fake model."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import Seen, TurnEnded
from relay_runner.terminal.tmux import TmuxTerminals
from tests.claude import model as model
from tests.claude import started
from tests.fake_models.anthropic import FakeAnthropic
from tests.terminals import sockets as sockets
from tests.terminals import tmux as tmux

pytestmark = [pytest.mark.anyio, pytest.mark.claude]


async def test_an_idle_session_is_woken_by_a_message(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    async with started(tmp_path, tmux, model) as rig:
        submission = rig.message("SAY:hello back")
        assert await rig.submit(submission) == "rewake"
        assert (await rig.event(Seen, submission.nonce)).evidence == "hook:UserPromptSubmit"
        ended = await rig.event(TurnEnded, submission.nonce)
        assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "hello back")
        assert model.times_in_conversation(submission.nonce) == 1
