"""The real Claude Code: what its tools, and its sandbox where there is one, can read of the relay's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.claude import claude_environ, claude_home, model  # noqa: F401 - a fixture
from tests.fake_models.anthropic import FakeAnthropic
from tests.harness import Home, home

pytestmark = [pytest.mark.claude, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path, model: FakeAnthropic) -> Iterator[Home]:
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), model)) as made:
        yield made


def test_its_tools_read_what_came_with_a_message_and_no_credentials(place: Home, model: FakeAnthropic) -> None:
    place.start("cc", "claude", "--trust-folder", "--approval-mode", "bypass")
    agent = place.state / "agents" / "cc"
    (place.work / "map.txt").write_text("the way")
    first = place.send("cc", "SAY:thanks", "--attach", "map.txt")
    place.settled(first)
    (came,) = (agent / "inside" / "attachments" / str(first)).iterdir()
    files = (place.state / "relay.json", agent / "control.json", agent / "claude-settings.json", came)
    orders = "\n".join(f"TOOL:Read {json.dumps({'file_path': str(file)})}" for file in files)
    assert "the way" in place.settled(place.send("cc", orders))["result"]
    shown = json.dumps(model.requests[-1].body)
    assert shown.count("denied by your permission settings") == 3
    assert place.file("cc", "control.json")["secret"] not in shown


@pytest.mark.skipif(
    shutil.which("bwrap") is None or shutil.which("socat") is None,
    reason="Claude Code's sandbox needs bubblewrap and socat",
)
def test_a_sandbox_of_the_users_own_hides_the_relays_folder(place: Home) -> None:
    settings = Path(place.environ["HOME"]) / ".claude" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(
        json.dumps({"sandbox": {"enabled": True, "autoAllowBashIfSandboxed": True, "allowUnsandboxedCommands": False}})
    )
    place.start("cc", "claude", "--trust-folder")
    agent = place.state / "agents" / "cc"
    secret = [place.state / "relay.json", agent / "control.json", agent / "journal.db"]
    reads = "; ".join(f"head -c 1 {path} >/dev/null 2>&1 && echo reached {path.name}" for path in secret)
    said = place.settled(place.send("cc", f"RUN:{reads}; ls {agent}/inside/bin"))["result"]
    assert "relay-runner" in said and "reached" not in said
