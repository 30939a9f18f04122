"""What files and processes say of the agents on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.cli import local
from relay_runner.errors import ConfigError
from relay_runner.protocol.control import ControlEndpoint, RunnerInfo
from relay_runner.protocol.wire import encode
from relay_runner.runner import record
from relay_runner.terminal import processes
from relay_runner.terminal.base import SavedTerminal

ENCLOSED = "from relay_runner import config; from relay_runner.cli import local; print(local.enclosing(config.paths()))"
HOLD = """
import sys, time
from pathlib import Path
from relay_runner.runner.lock import AgentLock
with AgentLock(Path(sys.argv[1]), "bob"):
    print("held", flush=True)
    time.sleep(600)
"""
Runner = tuple[RunnerInfo, "subprocess.Popen[str]"]


def write_info(paths: config.Paths, agent_id: str, pid: int) -> RunnerInfo:
    info = RunnerInfo(
        agent_id=agent_id,
        runner_id="r",
        instance_id="i",
        provider="demo",
        control_url="http://127.0.0.1:1",
        pid=pid,
        started_at=1.0,
        cwd="/",
    )
    config.private_dir(paths.agent(agent_id).root)
    config.write_private(paths.agent(agent_id).info, encode(info))
    return info


def save_program(paths: config.Paths, agent_id: str, pid: int) -> record.ProcessRecord:
    """Leave the record of a program that runs on a pty, as a runner does."""
    identity = processes.identity(pid)
    assert identity is not None
    run_dir = config.private_dir(paths.agent(agent_id).run / "s1")
    saved = record.ProcessRecord(
        provider="generic",
        terminal=SavedTerminal(kind="pty", process=identity, run_dir=str(run_dir)),
        control=ControlEndpoint(url="http://127.0.0.1:1", port=1, secret="s", provider_session_id="s1"),
        argv=("sleep", "600"),
        cwd="/",
        session_id=None,
        resumed=False,
        started_at=1.0,
    )
    record.save(paths.agent(agent_id).process, saved)
    return saved


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    """Give a program of nobody's."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def paths(tmp_path: Path) -> config.Paths:
    return config.paths({"RELAY_RUNNER_HOME": str(tmp_path)})


@pytest.fixture
def start(paths: config.Paths) -> Iterator[Callable[[str], Runner]]:
    """Give a function that starts a process which holds an agent's lock, as a runner does."""
    started: list[subprocess.Popen[str]] = []

    def run(agent_id: str) -> Runner:
        config.private_dir(paths.agent(agent_id).root)
        lock = paths.agent(agent_id).lock
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return write_info(paths, agent_id, process.pid), process

    yield run
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_runner_lives_while_it_holds_its_lock(paths: config.Paths, start: Callable[[str], Runner]) -> None:
    info, process = start("bob")
    write_info(paths, "dead", os.getpid())
    assert local.live(paths, "bob") == info == local.require_live(paths, "bob")
    assert local.live(paths, "dead") is None
    assert local.all_live(paths) == {"bob": info}
    assert local.known(paths) == ["bob", "dead"]
    assert not local.wait_gone(paths, "bob", info.pid, 0.0)
    process.kill()
    assert local.wait_gone(paths, "bob", info.pid, 30.0)
    assert local.live(paths, "bob") is None


def test_a_lock_held_by_another_process_is_not_this_runner_s(
    paths: config.Paths, start: Callable[[str], Runner]
) -> None:
    _, process = start("bob")
    stale = write_info(paths, "bob", os.getpid())
    assert local.live(paths, "bob") is None
    assert local.runner_pid(paths, "bob") == process.pid
    local.signal_runner(paths, "bob", stale.pid, signal.SIGKILL)  # would end this very test


def test_only_the_runner_itself_is_signalled(paths: config.Paths, start: Callable[[str], Runner]) -> None:
    info, process = start("bob")
    local.signal_runner(paths, "bob", info.pid, signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM
    local.signal_runner(paths, "bob", info.pid, signal.SIGTERM)


def test_a_program_is_left_behind_when_only_its_runner_ended(
    paths: config.Paths, start: Callable[[str], Runner], program: subprocess.Popen[bytes]
) -> None:
    info, process = start("bob")
    saved = save_program(paths, "bob", program.pid)
    assert local.left_behind(paths, "bob") is None
    process.kill()
    assert local.wait_gone(paths, "bob", info.pid, 30.0)
    assert local.left_behind(paths, "bob") == saved
    assert local.all_left_behind(paths) == {"bob": saved}
    program.kill()
    program.wait()
    assert local.all_left_behind(paths) == {}
    paths.agent("bob").process.write_text("{")
    assert local.left_behind(paths, "bob") is None


def test_unreadable_info_is_no_info(paths: config.Paths) -> None:
    config.private_dir(paths.agent("bob").root)
    assert local.info(paths, "bob") is None
    paths.agent("bob").info.write_text("{")
    assert local.info(paths, "bob") is None


@pytest.mark.parametrize(
    ("agent_id", "said"), [("bbo", "did you mean bob"), ("zzz", "ps"), ("../bob", "cannot be an agent id")]
)
def test_an_unknown_agent_is_named_with_the_nearest(paths: config.Paths, agent_id: str, said: str) -> None:
    config.private_dir(paths.agent("bob").root)
    with pytest.raises(ConfigError, match=said):
        local.require_known(paths, agent_id)


def test_a_known_agent_without_a_runner_can_be_started(paths: config.Paths) -> None:
    config.private_dir(paths.agent("bob").root)
    with pytest.raises(ConfigError, match="start --agent-id bob"):
        local.require_live(paths, "bob")


@pytest.mark.parametrize("shape", ["{}", "({} &)", "nohup {} & wait", "setsid -w {}"])
def test_a_command_without_its_environment_is_known_by_who_started_it(paths: config.Paths, shape: str) -> None:
    command = f"env -i RELAY_RUNNER_HOME={paths.state} {sys.executable} -c '{ENCLOSED}'"
    program = subprocess.Popen(
        ["sh", "-c", f"read go; {shape.format(command)}; cat >/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert program.stdin is not None and program.stdout is not None
    save_program(paths, "bob", program.pid)
    save_program(paths, "broken", program.pid)
    config.write_private(paths.agent("broken").process, b"{")
    program.stdin.write("go\n")
    program.stdin.flush()
    assert program.stdout.readline() == "bob\n"
    program.stdin.close()
    program.wait()
    program.stdout.close()


def test_a_person_s_command_is_nobodys(paths: config.Paths, program: subprocess.Popen[bytes]) -> None:
    assert local.enclosing(paths) is None
    save_program(paths, "bob", program.pid)
    assert local.enclosing(paths) is None
