"""The start script: what it hands over, what it hides, what it writes down."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_runner.errors import ProviderExited, TerminalError
from relay_runner.terminal import shim
from relay_runner.terminal.base import TerminalSpec
from tests.terminals import until

pytestmark = pytest.mark.anyio

SHOW = "import os,sys; print(repr((sys.argv[1:], {k: os.fsencode(v) for k, v in os.environ.items()})))"


def spec(folder: Path, *argv: str, env: dict[str, str] | None = None) -> TerminalSpec:
    environment = {"PATH": os.environ["PATH"], **(env or {})}
    return TerminalSpec(argv=argv, env=environment, cwd=folder, run_dir=folder / "run", name="x")


def run(one: TerminalSpec) -> subprocess.CompletedProcess[str]:
    command = shim.prepare(one, ("LANG", "GIVEN"))
    surrounding = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TMUX": "/x,1,0", "TERM": "tmux", "SHELL": "/bin/sh"}
    return subprocess.run(command, env=surrounding, capture_output=True, text=True, timeout=30, check=False)


def test_every_byte_of_arguments_and_environment_survives(tmp_path: Path) -> None:
    everything = os.fsdecode(bytes(range(1, 256)))
    env = {"VALUE": everything, "QUOTES": 'it\'s "so" $HOME `x` \\', "EMPTY": "", "LINES": "a\nb\n", "bad-name": "x"}
    ended = run(spec(tmp_path, sys.executable, "-c", SHOW, everything, "", "a'b", "-n", env=env))
    arguments, environment = eval(ended.stdout)
    assert arguments == [everything, "", "a'b", "-n"]
    expected = {name: os.fsencode(value) for name, value in env.items() if name != "bad-name"}
    assert {name: environment.get(name) for name in expected} == expected


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60).filter(lambda word: b"\0" not in word))
def test_any_word_is_one_word_of_a_shell(word: bytes) -> None:
    script = b"printf %s " + shim.quote(os.fsdecode(word)) + b" end"
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout == word + b"end"


def test_the_environment_is_the_given_one_and_nothing_else(tmp_path: Path) -> None:
    ended = run(spec(tmp_path, sys.executable, "-c", SHOW, env={"GIVEN": "1", "TERM": "not this"}))
    environment = eval(ended.stdout)[1]
    assert set(environment) - {"PATH", "PWD", "_", "SHLVL", "LC_CTYPE"} == {"GIVEN", "TERM"}
    assert environment["TERM"] == b"tmux"


def test_the_script_is_private_and_deletes_itself(tmp_path: Path) -> None:
    one = spec(tmp_path, "true", env={"SECRET": "s3cret"})
    command = shim.prepare(one, ())
    file = one.run_dir / "start.sh"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in " ".join(command)
    subprocess.run(command, check=True, timeout=30)
    assert not file.exists()
    assert not [name for name in one.run_dir.iterdir() if b"s3cret" in name.read_bytes()]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill -TERM $$", -15), ("kill -HUP $$", -1), ("exit 255", 255)],
)
async def test_how_the_program_ended_is_written_down(tmp_path: Path, script: str, code: int) -> None:
    one = spec(tmp_path, "sh", "-c", script)
    run(one)
    assert (await shim.exit_status(one.run_dir)).code == code


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
async def test_a_signal_to_the_whole_group_ends_the_program_and_not_the_script(
    tmp_path: Path, number: signal.Signals
) -> None:
    one = spec(tmp_path, sys.executable, "-c", "import signal\nprint(flush=True)\nsignal.pause()")
    command = shim.prepare(one, ())
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert await shim.started(one.run_dir) is not None
        os.killpg(child.pid, number)
        child.wait(timeout=30)
    # Python turns the interrupt into an exception and then kills itself by the same signal.
    assert (await shim.exit_status(one.run_dir)).code == -number


async def test_nobody_knows_how_a_killed_script_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim, "EXIT_FILE_TIMEOUT_S", 0.05)
    assert (await shim.exit_status(tmp_path)).code is None


async def test_the_program_is_told_from_the_shell_that_becomes_it(tmp_path: Path) -> None:
    one = spec(tmp_path, "sleep", "60")
    with subprocess.Popen(shim.prepare(one, ()), start_new_session=True) as child:
        pid = await shim.started(one.run_dir)
        assert pid is not None
        await until(lambda: Path(f"/proc/{pid}/comm").read_text().strip() == "sleep")
        os.kill(pid, signal.SIGKILL)
        assert child.wait(timeout=30) == 128 + signal.SIGKILL


def test_a_program_that_cannot_run_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    for argv, message in [
        ((), "no program"),
        (("no-such-program",), "not on PATH"),
        ((str(tmp_path / "none"),), "does not exist"),
        ((str(tmp_path / "plain"),), "not executable"),
        ((str(tmp_path),), "not executable"),
    ]:
        with pytest.raises(ProviderExited, match=message):
            shim.check(spec(tmp_path, *argv))
    with pytest.raises(ProviderExited, match="does not exist"):
        shim.check(spec(tmp_path / "gone", "true"))


def test_a_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TerminalError):
        shim.quote("a\0b")


def test_the_boot_is_remembered(tmp_path: Path) -> None:
    shim.prepare(spec(tmp_path, "true"), ())
    assert not shim.other_boot(tmp_path / "run")
    (tmp_path / "run" / "boot").write_text("another")
    assert shim.other_boot(tmp_path / "run")
    assert not shim.other_boot(tmp_path / "nowhere")


@pytest.mark.parametrize(("shell", "code"), [(0, 0), (1, 1), (127, 127), (128, 128), (130, -2), (137, -9), (255, 255)])
def test_a_shells_number_becomes_a_signal(shell: int, code: int) -> None:
    assert shim.exit_code(shell) == code


async def test_a_program_that_is_just_dying_has_not_started(tmp_path: Path) -> None:
    """Between its last breath and the exit code it has a pid, but no command line."""
    dying = subprocess.Popen(["true"])
    await asyncio.to_thread(os.waitid, os.P_PID, dying.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / "pid").write_text(f"{dying.pid}\n")
    looking = asyncio.create_task(shim.started(tmp_path))
    await asyncio.sleep(0)  # it has looked once
    assert not looking.done()
    (tmp_path / "exit").write_text("127\n")
    assert await looking is None
    dying.wait()
