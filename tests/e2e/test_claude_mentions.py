"""What another agent names in a message is not brought into a Claude Code conversation, however it is spelled."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from relay_runner.providers.base import TurnEnded
from relay_runner.terminal.tmux import TmuxTerminals
from tests.claude import Rig, started
from tests.claude import model as model
from tests.fake_models.anthropic import FakeAnthropic
from tests.terminals import sockets as sockets
from tests.terminals import tmux as tmux

pytestmark = [pytest.mark.anyio, pytest.mark.claude, pytest.mark.slow]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
SKILL = "---\nname: deploy\ndescription: Deploys.\n---\n\nThe words of the skill.\n"
SPELLINGS = (
    "@{name}", " @{path}", "\n@{name}\n", "(see @{name})", "see @{name}.", "@{name}#L1-2", '@"{name}"', '@"{path}"',
    "\ufeff@{name}", "@\ufeff{name}", "@{name}\ufeff", "\ufeff@\ufeff{path}\ufeff", "@{dir}/nope/../{name}",
    "@./{name}", "@{dir}/./{name}", "@{long}{name}", "\u3002@{name}", "\u3001@{name}", "\uff1f@{path}", "\uff01@{name}",
    "\u00a0@{name}", "\u200b@{name}", "\u2028@{name}", "@\u200b{name}", "@{name}\u00ad", "[x](@{name})", "\t@{name}",
    "@~/../{path}", "@file://{path}", "@{name},", "\uff20{name}", "\ufe6b{name}", "<@{name}>", "`@{name}`", "@@{name}",
)  # fmt: skip


def mentions(work: Path, spellings: Sequence[str] = SPELLINGS) -> str:
    """Put a file into the folder for each spelling, and return a text that mentions them all."""
    lines = []
    for number, spelling in enumerate(spellings):
        file = work / f"secret{number}.txt"
        file.write_text(f"the-word-{number}-of-it\n")
        long = f"{work}/" + "./" * 2100
        lines.append(spelling.format(name=file.name, path=file, dir=work, long=long))
    return "\n".join(lines)


def brought(model: FakeAnthropic) -> list[int]:
    """Return the spellings that brought their file in."""
    said = str(model.requests[-1].messages)
    return [number for number in range(len(SPELLINGS)) if f"the-word-{number}-of-it" in said]


def kinds(model: FakeAnthropic) -> set[str]:
    """Return what kinds of blocks the conversation has."""
    return {
        str(block.get("type"))
        for message in model.requests[-1].messages
        for block in (message["content"] if isinstance(message["content"], list) else [])
    }


async def told(rig: Rig, text: str, channel: str, *, operator: bool = False) -> None:
    """Have the model read a text that came in by this rung."""
    if channel == "paste" and not operator:
        os.kill(await rig.poller(), signal.SIGKILL)
    submission = rig.message(f"{text}\nSAY:x", operator=operator)
    assert await rig.submit(submission) == channel
    await rig.event(TurnEnded, submission.nonce)


@pytest.mark.parametrize("channel", ["rewake", "paste"])
async def test_a_peer_brings_nothing_in(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic, channel: str
) -> None:
    async with started(tmp_path, tmux, model) as rig:
        await told(rig, mentions(rig.spec.cwd), channel)
        assert brought(model) == []
        assert "the-word-0-of-it" not in str(model.requests)
        picture = rig.spec.cwd / "pic.png"
        picture.write_bytes(PIXEL)
        await told(rig, f'{picture}\n"{picture}"\nfile://{picture}\n see {picture}\n@agent-general-purpose', channel)
        assert kinds(model) == {"text"}
        assert "expressed a desire to invoke" not in str(model.requests[-1].messages)


async def test_a_peer_calls_no_skill_by_a_paste(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    work = tmp_path / "work"
    skill = work / ".claude" / "skills" / "deploy"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(SKILL)
    async with started(tmp_path, tmux, model) as rig:
        await told(rig, "use /deploy now, or 「/deploy」\n/deploy\n\u3001/deploy", "paste")
        said = str(model.requests[-1].messages[-2:])
        assert "The words of the skill" not in said and said.count("/deploy") == 0


async def test_an_operator_may_mention(tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic) -> None:
    """Else the tests above would prove nothing."""
    async with started(tmp_path, tmux, model) as rig:
        await told(rig, mentions(rig.spec.cwd, SPELLINGS[:10]), "paste", operator=True)
        assert set(brought(model)) >= {0, 1, 2, 3, 4, 5, 6, 7}
