"""A person at a terminal: start, look, type, leave, come back, stop. On the demo agent, through a real pty and tmux."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.harness import PROGRAM, Home, home, kill, running, until

DETACH = "\x1d"
"""Ctrl-], the prefix; `d` after it detaches."""
SHOWN = "detach: Ctrl-"
AGENT = "work-demo"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


@contextmanager
def person(place: Home, *words: str) -> Iterator[Any]:
    """Give a terminal in which the person typed `relay-runner WORDS`."""
    terminal = pexpect.spawn(
        PROGRAM[0], [*PROGRAM[1:], *words], env=place.environ, cwd=place.work, dimensions=(30, 100),
        timeout=60, encoding="utf-8", codec_errors="replace",
    )  # fmt: skip
    try:
        yield terminal
    finally:
        terminal.close(force=True)


def leave(terminal: Any) -> None:
    """Detach and check what the person is told."""
    terminal.send(DETACH)
    terminal.send("d")
    terminal.expect(f"{AGENT} goes on in the background")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 0


def status(place: Home) -> dict[str, Any]:
    """Return the agent's row of `ps`, {} when there is none."""
    return next((row for row in place.json("ps") if row["agentId"] == AGENT), {})


def idle(place: Home) -> None:
    until("the agent is idle", lambda: status(place).get("status") == "idle" and status(place)["ready"])


def test_start_look_type_leave_come_back_stop(place: Home) -> None:
    with person(place, "start", "demo") as terminal:
        terminal.expect(f"starting {AGENT}: demo in ")
        terminal.expect(f"{AGENT} is up")
        terminal.expect(f'send .* send {AGENT} "hello" --wait')
        terminal.expect(f"stop .* stop {AGENT}")
        terminal.expect(SHOWN)
        assert place.tmux(AGENT, "display-message", "-p", "#{window_width}x#{window_height}").strip() == "100x29", (
            "as large as the person's, without tmux's own line"
        )
        until("the agent reads", lambda: "demo>" in place.screen(AGENT))  # before that the terminal echoes by itself
        terminal.send("echo typed by hand\r")
        until("the agent answered the person", lambda: place.screen(AGENT).count("typed by hand") == 2)
        idle(place)
        leave(terminal)
    row = status(place)
    assert row["provider"] == "demo" and running(row["pid"]) and row["tmuxSocket"]
    assert place.run("send", AGENT, "echo by message", "--wait").stdout == "by message\n"
    with person(place, "attach", AGENT) as terminal:
        terminal.expect("by message")
        leave(terminal)
    assert place.run("stop", AGENT).stdout == f"{AGENT}: stopped\n"
    until("its process is gone, too", lambda: not running(row["pid"]))  # the lock is free a moment before
    assert place.json("ps") == []


@pytest.mark.parametrize(
    ("term", "said"),
    [("xterm-kitty-unheard-of", "no terminfo entry for TERM=xterm-kitty-unheard-of"), ("", "TERM is not set")],
)
def test_a_terminal_that_nothing_describes_is_shown_as_another(place: Home, term: str, said: str) -> None:
    place.environ["TERM"] = term
    with person(place, "start", "demo") as terminal:
        terminal.expect(f"{said}.*using xterm-256color")
        terminal.expect(SHOWN)
        idle(place)
        leave(terminal)
    place.run("stop", AGENT)


def test_the_end_of_the_program_ends_it_all(place: Home) -> None:
    with person(place, "start", "demo") as terminal:
        terminal.expect(SHOWN)
        idle(place)
        pid = place.runner_pid(AGENT)
        terminal.sendcontrol("d")
        terminal.expect(f"{AGENT} ended: ")
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert terminal.exitstatus == 0
    until("the runner is gone", lambda: not running(pid))


def test_start_of_a_live_agent_shows_it(place: Home) -> None:
    with person(place, "start", "demo") as terminal:
        terminal.expect(SHOWN)
        idle(place)
        leave(terminal)
    pid = place.runner_pid(AGENT)
    with person(place, "start", "demo", "--prompt", "echo said later", "--model", "m") as terminal:
        terminal.expect("runs already")
        terminal.expect("not applied to it: --model")
        terminal.expect(f"message 1 to {AGENT}")
        terminal.expect(SHOWN)
        terminal.expect("said later")
        leave(terminal)
    assert place.runner_pid(AGENT) == pid
    refused = place.run("start", "demo", "--headless", check=2)
    assert "runs already" in refused.stderr and "--replace" in refused.stderr
    with person(place, "start", "demo", "--replace") as terminal:
        terminal.expect("taking over from the runner")
        terminal.expect(SHOWN)
        provider = place.provider_pid(AGENT)
        leave(terminal)
    assert place.runner_pid(AGENT) != pid and not running(pid)
    assert running(provider)


def test_what_a_dead_runner_left_is_told_adopted_and_stopped(place: Home) -> None:
    with person(place, "start", "demo") as terminal:
        terminal.expect(SHOWN)
        idle(place)
        leave(terminal)
    program = place.provider_pid(AGENT)
    kill(place.runner_pid(AGENT))
    why = f"its runner died, its program still runs: `relay-runner start --agent-id {AGENT}` adopts it"
    assert status(place)["detail"] == why
    assert f"{AGENT} does not run: `relay-runner start" in place.run("restart", AGENT, check=1).stderr
    with person(place, "start", "--agent-id", AGENT) as terminal:
        terminal.expect(f"adopted the running program .pid {program}.")
        terminal.expect(SHOWN)
        leave(terminal)
    idle(place)
    kill(place.runner_pid(AGENT))
    assert place.run("stop", AGENT).stdout == (
        f"{AGENT}: its runner had ended; its program was ended; it is listed no more\n"
    )
    assert not running(program) and place.json("ps") == []


def test_a_restart_is_followed(place: Home) -> None:
    with person(place, "start", "demo", "--prompt", "echo the first prompt") as terminal:
        terminal.expect("the first prompt")
        idle(place)
        for verb in ("restart", "kill"):
            said = place.run(verb, AGENT, check=1).stderr
            assert "a person is attached" in said and "--force" in said
        idle(place)
        assert place.run("restart", AGENT, "--force").stdout == f"{AGENT}: restarted\n"
        terminal.expect(f"{AGENT} was restarted")
        terminal.expect(SHOWN)
        idle(place)
        assert place.run("kill", AGENT, "--force").stdout == f"{AGENT}: killed\n"
        terminal.expect(f"{AGENT} ended")
        terminal.expect(pexpect.EOF)
    sent = place.json("read", "1")
    assert sent["message"]["body"] == "echo the first prompt" and sent["deliveries"][0]["state"] == "done"


def test_what_keeps_an_agent_from_starting_is_one_line(place: Home) -> None:
    with person(place, "start", "generic") as terminal:
        terminal.expect("relay-runner: .*generic.*\r\n")
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert "Traceback" not in terminal.before and terminal.exitstatus != 0


def test_ctrl_c_gives_up_a_start_that_waits_for_a_relay(place: Home) -> None:
    with person(place, "start", "demo", "--relay", "http://127.0.0.1:9") as terminal:
        terminal.expect("trying until it answers")
        terminal.sendcontrol("c")
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert terminal.exitstatus == 130
    until("nothing is left of it", lambda: not _runs(place))


def test_inside_another_tmux_and_inside_an_agent(place: Home) -> None:
    place.environ.update(
        TMUX="/tmp/not-ours,1,0",
        CLAUDECODE="1",
        AGENT_RELAY_PROVIDER_SESSION_ID="outer",
        AGENT_RELAY_URL="http://127.0.0.1:9",
        AGENT_RELAY_TOKEN="outer-secret",
        AGENT_RELAY_ID="outer",
    )
    with person(place, "start", "demo") as terminal:
        terminal.expect(SHOWN)
        until("the agent is ready", lambda: place.agent(AGENT).get("ready"))
        leave(terminal)
    refused = place.run("stop", AGENT, check=2)
    assert refused.stderr == "relay-runner: an agent cannot stop an agent: ask the person who runs it\n"
    environ = Path(f"/proc/{place.provider_pid(AGENT)}/environ").read_bytes()
    assert b"outer" not in environ and b"CLAUDECODE" not in environ


def _runs(place: Home) -> bool:
    """Say whether any process still works for this home."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and running(int(folder.name)):
            try:
                if (
                    str(place.state).encode() in (folder / "environ").read_bytes()
                    and "_run" in (folder / "cmdline").read_text()
                ):
                    return True
            except OSError:
                continue
    return False
