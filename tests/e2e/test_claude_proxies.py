"""Claude Code behind a proxy that reaches nothing: its hooks come all the same; where they do not, that is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay_runner.providers.base import Degraded, TurnEnded
from relay_runner.providers.claude.health import HOOKLESS
from relay_runner.terminal.tmux import TmuxTerminals
from tests.claude import claude_environ, claude_home, started
from tests.claude import model as model
from tests.fake_models.anthropic import FakeAnthropic
from tests.harness import home
from tests.terminals import sockets as sockets
from tests.terminals import tmux as tmux
from tests.terminals import until

pytestmark = [pytest.mark.claude]
BLACK_HOLE = "http://127.0.0.1:9"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["environment", "settings"])
def test_a_permission_is_answered_from_elsewhere_behind_a_proxy(
    tmp_path: Path, model: FakeAnthropic, where: str
) -> None:
    proxies = dict.fromkeys(PROXIES, BLACK_HOLE)
    user = claude_home(tmp_path / "user")
    if where == "settings":
        (user / ".claude").mkdir()
        (user / ".claude" / "settings.json").write_text(json.dumps({"env": {**proxies, "NO_PROXY": "corp.example"}}))
    environ = {**claude_environ(user, model), **(proxies if where == "environment" else {})}
    with home(tmp_path, environ) as place:
        place.start("cc", "claude", "--trust-folder")
        sent = place.send("cc", "RUN:touch made.txt\nSAY:made it")
        asked = place.asked("cc", state="open")
        place.run("approve", asked["id"])
        assert place.settled(sent)["result"] == "made it" and (place.work / "made.txt").exists()
        assert place.agent("cc").get("detail") is None


@pytest.mark.anyio
async def test_hooks_that_cannot_come_are_said_and_turns_end_all_the_same(
    tmp_path: Path, tmux: TmuxTerminals, model: FakeAnthropic
) -> None:
    policy = json.dumps({"allowedHttpHookUrls": ["https://elsewhere.example/*"]})
    async with started(tmp_path, tmux, model, settings=policy) as rig:
        submission = await rig.say("RUN:true\nSAY:seen by the records")
        assert (await rig.event(TurnEnded, submission.nonce)).result == "seen by the records"
        await until(lambda: Degraded(HOOKLESS) in rig.events)
