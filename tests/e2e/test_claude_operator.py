"""What a person sends is the user's own prompt of the real Claude Code: byte for byte, of any length, never a paste."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from relay_runner.providers.base import TurnEnded
from relay_runner.terminal.base import Key
from relay_runner.terminal.tmux import TmuxTerminals
from tests.claude import Rig, claude_environ, claude_home, started
from tests.claude import model as model
from tests.fake_models.anthropic import FakeAnthropic
from tests.terminals import shown, until
from tests.terminals import sockets as sockets
from tests.terminals import tmux as tmux

pytestmark = [pytest.mark.anyio, pytest.mark.claude]
PROMPT = "\u276f\u00a0"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def told(rig: Rig, body: str, *, operator: bool = True) -> str:
    """Say it, and return all that the model was then shown of it as one text."""
    submission = await rig.say(body, operator=operator)
    await rig.event(TurnEnded, submission.nonce)
    assert rig.model.times_in_conversation(submission.nonce) == 1
    (prompt,) = [one for one in rig.model.requests[-1].prompts() if submission.nonce in one]
    assert submission.text in prompt
    return prompt


async def test_an_operators_words_are_typed_whatever_their_length(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        for count in (3, 50, 500):
            lines = [f"\tline {number}: `$HOME` \\ \u00e9 \U0001f600  " for number in range(count)]
            prompt = await told(rig, "\n".join(["SAY:ok", *lines, "", "x" * 2000, "", ""]))
            assert "pasted_content" not in prompt and "Pasted text" not in prompt
        assert "pasted_content id=" not in str(model.requests[-1].messages)


async def test_the_path_of_an_image_stays_a_path(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    """A paste would become the image (2.1.197), also one of a peer's whose poller is dead."""
    image = tmp_path / "secret.png"
    image.write_bytes(PIXEL)
    async with started(tmp_path, tmux, model) as rig:
        for operator in (True, False):
            await told(rig, f"SAY:ok\nlook:\n{image}\n {image}", operator=operator)
        assert '"type": "image"' not in str(model.requests[-1].messages).replace("'", '"')


async def test_a_persons_own_editor_opens_as_ever_and_their_draft_is_never_touched(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    own = tmp_path / "own"
    own.write_text('#!/bin/sh\nprintf " from my editor" >> "$1"\n')
    own.chmod(0o700)
    environ = {**claude_environ(claude_home(tmp_path / "home"), model), "EDITOR": str(own)}
    async with started(tmp_path, tmux, model, environ=environ) as rig:
        await rig.terminal.type("SAY:mine")
        await shown(rig.terminal, PROMPT + "SAY:mine")
        await rig.terminal.press(Key.CTRL_G)
        await shown(rig.terminal, PROMPT + "SAY:mine from my editor")
        await rig.terminal.press(Key.ENTER)
        await until(lambda: bool(model.requests))
        await told(rig, "SAY:after it")
