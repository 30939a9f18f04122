"""The contract with a spawner: one line on stdout, nothing inherited by accident, exit codes, and the example."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.claude import claude_environ, claude_home
from tests.claude import model as anthropic  # noqa: F401 - a fixture
from tests.fake_models.anthropic import FakeAnthropic
from tests.harness import PROGRAM, Home, home, kill, running, until

EXAMPLE = Path(__file__).parents[2] / "scripts" / "spawn_example"
WAIT_S = 60.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def spawn(place: Home, *args: str, **environ: str) -> subprocess.Popen[str]:
    """Start what a spawner starts; its log is in a file."""
    with (place.root / "spawned.log").open("ab") as log:
        runner = subprocess.Popen(
            [*PROGRAM, "start", "--headless", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            text=True, env={**place.environ, **environ}, cwd=place.work, start_new_session=True,
        )  # fmt: skip
    place.runners.append(runner)  # type: ignore[arg-type]
    return runner


def answer(runner: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the one line, read to the end of stdout."""
    assert runner.stdout is not None
    with runner.stdout:
        text = runner.stdout.read()
    assert text.count("\n") == 1, text
    found: dict[str, Any] = json.loads(text)
    return found


def environment(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_ten_agents_come_answer_and_go(place: Home) -> None:
    done = subprocess.run(
        [EXAMPLE], capture_output=True, text=True, timeout=230, env=place.environ, cwd=place.work, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    told = [json.loads(line) for line in lines[:10]]
    assert sorted(one["agentId"] for one in told) == sorted(f"spawned-{number}" for number in range(10))
    assert len({one["controlUrl"] for one in told}) == len({one["pid"] for one in told}) == 10
    assert lines[10:20] == [f"spawned-{number}: I am spawned-{number}" for number in range(10)]
    assert lines[20] == "10 of 10 agents came, 0 did not answer, exit codes [0]"
    assert not any(running(one["pid"]) or running(one["providerPid"]) for one in told)


def test_the_line_says_where_everything_is(place: Home) -> None:
    info = place.root / "info"
    words = ("--spawn-request-id", "s1", "--automation-id", "a1", "--automation-run-id", "r1", "--info-file", str(info))
    runner = spawn(
        place, "demo", "--agent-id", "bob", *words, "--workspace", '{"mode": "worktree", "requestedMode": "shared"}',
        AGENT_RELAY_TAGS="one, two",
    )  # fmt: skip
    told = answer(runner)
    assert told["agentId"] == "bob" and told["provider"] == "demo" and told["pid"] == runner.pid
    assert told["infoFile"] == str(info)
    file = json.loads(info.read_text())
    assert file == {key: told[key] for key in file} and info.stat().st_mode & 0o777 == 0o600
    assert running(told["providerPid"]) and told["sessionId"] and told["tmuxSession"] == "bob"
    # It takes messages at once: the relay knows it.
    agent = place.get("/api/v1/agents/bob")
    assert agent["instanceId"] == told["instanceId"] and {"one", "two", "demo", "headless"} <= set(agent["tags"])
    meta = agent["meta"]
    asked = {key: meta[key] for key in ("spawnRequestId", "automationId", "automationRunId", "workspace")}
    assert asked == {
        "spawnRequestId": "s1", "automationId": "a1", "automationRunId": "r1",
        "workspace": {"mode": "worktree", "requestedMode": "shared"},
    }  # fmt: skip
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(WAIT_S) == 0


@pytest.mark.parametrize(
    ("args", "code", "kind", "word"),
    [
        (("nope",), 2, "usage", "unknown provider"),
        (("demo", "--agent-id", "NOT GOOD"), 2, "usage", "NOT GOOD"),
        (("demo", "--workspace", "[]"), 2, "usage", "--workspace"),
        (("demo", "--profile", "none"), 2, "usage", "no profile"),
        (("demo", "--system-prompt-append", "x"), 1, "unsupported", "no system prompt"),
        (("generic", "--", "no-such-program-at-all"), 1, "provider-not-found", "no-such-program-at-all"),
    ],
)
def test_what_cannot_start_says_so_in_one_line(
    place: Home, args: tuple[str, ...], code: int, kind: str, word: str
) -> None:
    runner = spawn(place, *args)
    error = answer(runner)["error"]
    assert runner.wait(WAIT_S) == code
    assert error["code"] == kind and word in error["message"] and set(error) == {"code", "message", "hint"}


def test_a_second_runner_of_one_agent_is_refused_and_the_first_lives_on(place: Home) -> None:
    first = spawn(place, "demo", "--agent-id", "bob")
    assert answer(first)["agentId"] == "bob"
    second = spawn(place, "demo", "--agent-id", "bob")
    assert "runs already" in answer(second)["error"]["message"] and second.wait(WAIT_S) == 2
    assert place.run("send", "bob", "echo x", "--wait").stdout == "x\n"


def test_one_that_dies_before_it_is_ready_says_so(place: Home) -> None:
    runner = spawn(place, "generic", "--agent-id", "bob", "--", "sh", "-c", "exit 3")
    assert "error" in answer(runner) and runner.wait(WAIT_S) == 1


@pytest.mark.claude
@pytest.mark.slow
def test_nothing_of_the_spawner_reaches_the_program(tmp_path: Path, anthropic: FakeAnthropic) -> None:
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), anthropic)) as place:
        (place.state).mkdir(exist_ok=True)
        (place.state / "config.toml").write_text('[providers.claude]\nenv = { GROQ_API_KEY = "on purpose" }\n')
        leaked = os.open(tmp_path, os.O_RDONLY)
        os.set_inheritable(leaked, True)
        foreign = {
            "OPENAI_API_KEY": "sk-foreign", "GEMINI_API_KEY": "foreign", "MISTRAL_API_KEY": "foreign",
            "AGENT_RELAY_TOKEN": "outer", "AGENT_RELAY_ID": "outer", "AGENT_RELAY_PROVIDER_SESSION_ID": "outer",
            "AGENT_RELAY_RUNNER_INFO_FILE": str(tmp_path / "outer-info"),
            "CLAUDECODE": "1", "CLAUDE_CODE_CHILD_SESSION": "1", "TMUX": "/tmp/outer,1,1", "MINE": "stays",
        }  # fmt: skip
        with (tmp_path / "log").open("wb") as log:
            runner = subprocess.Popen(
                [*PROGRAM, "start", "claude", "--headless", "--trust-folder", "--agent-id", "cc"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**place.environ, **foreign}, cwd=place.work, pass_fds=[leaked], start_new_session=True,
            )  # fmt: skip
        place.runners.append(runner)  # type: ignore[arg-type]
        told = answer(runner)
        assert told["agentId"] == "cc", told
        environ = environment(told["providerPid"])
        for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY", "CLAUDECODE", "CLAUDE_CODE_CHILD_SESSION"):
            assert name not in environ
        assert environ["GROQ_API_KEY"] == "on purpose" and environ["MINE"] == "stays"
        assert environ["AGENT_RELAY_ID"] == "cc" and "outer" not in environ["AGENT_RELAY_TOKEN"]
        assert environ["ANTHROPIC_BASE_URL"] == place.environ["ANTHROPIC_BASE_URL"]
        assert not (tmp_path / "outer-info").exists()
        folder = str(tmp_path)
        for pid in (told["pid"], told["providerPid"], place.tmux_pid("cc"), place.relay_pid()):
            links = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()]
            assert folder not in links, pid
        assert place.settled(place.send("cc", "SAY:well"))["result"] == "well"
        os.close(leaked)


def test_an_agent_that_gives_up_ends_with_a_code_that_says_so(place: Home) -> None:
    runner = spawn(place, "demo", "--agent-id", "bob")
    assert answer(runner)["agentId"] == "bob"

    def ended() -> bool:
        if runner.poll() is None and (saved := place.file("bob", "process.json")):
            pid = int(saved["terminal"]["process"]["pid"])
            # What is saved may be over: the number could be somebody else's by now.
            if running(pid) and b"demo_agent" in Path(f"/proc/{pid}/cmdline").read_bytes():
                kill(pid)
        return runner.poll() is not None

    until("it gives up", ended)
    assert runner.returncode == 1
