"""What a runner leaves where a spawner, a service manager or a person looks: its info file and its log."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.harness import PROGRAM, Home, home, until

LOGGED = "relay_runner.runner.launcher: started"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def test_a_headless_runner_logs_to_stderr_and_writes_the_info_file_that_was_asked_for(place: Home) -> None:
    info = place.root / "info.json"
    place.environ |= {"AGENT_RELAY_RUNNER_INFO_FILE": str(info), "AGENT_RELAY_TAGS": "spawned, by test"}
    runner = place.start("bob", "demo", "--spawn-request-id", "s1")
    told = json.loads(info.read_text())
    assert stat.S_IMODE(info.stat().st_mode) == 0o600
    assert (told["agentId"], told["provider"], told["pid"]) == ("bob", "demo", runner.pid)
    assert told["tmuxSocket"] == place.tmux_socket("bob") and told["tmuxSession"] == "bob"
    assert told["controlUrl"].startswith("http://127.0.0.1:") and told["startedAt"] > 0 and told["runnerId"]
    control = place.file("bob", "control.json")
    assert control["secret"] not in info.read_text()
    assert LOGGED in place.log("bob")  # its stderr
    assert LOGGED in (place.state / "agents" / "bob" / "runner.log").read_text()
    assert control["secret"] not in place.log("bob")
    agent = place.get("/api/v1/agents/bob")
    assert {"spawned", "by test", "demo", "headless"} <= set(agent["tags"])
    assert agent["meta"]["spawnRequestId"] == "s1" and agent["meta"]["auth"]["profileId"] == "provider-agent"
    assert agent["status"]["transport"]["state"] == "connected"


def test_where_a_program_owns_the_screen_the_log_is_in_its_file_only(place: Home) -> None:
    log = place.state / "agents" / "work-demo" / "runner.log"
    terminal = pexpect.spawn(
        PROGRAM[0], [*PROGRAM[1:], "start", "demo"], env=place.environ, cwd=place.work, dimensions=(30, 100),
        timeout=60, encoding="utf-8", codec_errors="replace",
    )  # fmt: skip
    try:
        terminal.expect("detach: Ctrl-")
        until("the runner logged", lambda: LOGGED in log.read_text() and "joined the relay" in log.read_text())
        place.run("stop", "work-demo")
        terminal.expect(pexpect.EOF)
        shown = f"{terminal.before}"
    finally:
        terminal.close(force=True)
    assert "relay_runner." not in shown and "INFO" not in shown
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
