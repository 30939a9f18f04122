"""The real Codex: what a command that the model orders can reach of the relay's, and what it still can do."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.providers.codex.launch import SOCKET
from tests.codex import codex_environ, codex_home, model  # noqa: F401 - a fixture
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home

pytestmark = [pytest.mark.codex, pytest.mark.slow]
PROBE = """
import json, os, socket, sys
wanted = json.load(open(sys.argv[1]))
open_ones = []
def attempt(what, act):
    try:
        act()
    except OSError:
        return
    open_ones.append(what)
def speak(path):
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(path)
def by_link(path):
    if os.path.lexists("soft"):
        os.remove("soft")
    os.symlink(path, "soft")
    open("soft").read(1)
for path in wanted["files"]:
    attempt(path, lambda: open(path).read(1))
    attempt("own root " + path, lambda: open("/proc/self/root" + path).read(1))
    for pid in wanted["pids"]:
        attempt(f"root of {pid} {path}", lambda: open(f"/proc/{pid}/root{path}").read(1))
    attempt("hard link " + path, lambda: os.link(path, "hard"))
    attempt("link " + path, lambda: by_link(path))
for folder in wanted["folders"]:
    attempt("write " + folder, lambda: open(folder + "/planted", "w"))
    attempt("move " + folder, lambda: os.rename(folder, folder + ".old"))
attempt("list", lambda: os.listdir(wanted["folders"][0]))
for path in wanted["sockets"]:
    attempt("socket " + path, lambda: speak(path))
for pid in wanted["pids"]:
    attempt(f"environment of {pid}", lambda: open(f"/proc/{pid}/environ").read(1))
    attempt(f"signal {pid}", lambda: os.kill(pid, 0))
print("reached", open_ones)
"""


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as made:
        yield made


def wanted(place: Home) -> list[str]:
    """Return a command that tries everything that it should not reach, all of which is there."""
    agents = place.state / "agents"
    names = ("control.json", "process.json", "info.json", "journal.db", "launch.json", "codex.json")
    files = [place.state / name for name in ("relay.json", "relay.db", "relay.log", "config.toml")]
    files += [agents / "cx" / name for name in names] + [agents / "other" / "control.json"]
    sockets = [place.tmux_socket("cx"), place.tmux_socket("other"), os.path.realpath(agents / "cx" / SOCKET)]
    pids = [runner.pid for runner in place.runners] + [place.file("cx", "process.json")["terminal"]["process"]["pid"]]
    assert all(file.exists() for file in files) and all(Path(socket).is_socket() for socket in sockets)
    told = {
        "files": [str(file) for file in files],
        "folders": [str(folder) for folder in (place.state, agents, agents / "cx", agents / "other")],
        "sockets": [str(socket) for socket in sockets],
        "pids": pids,
    }
    (place.work / "wanted.json").write_text(json.dumps(told))
    (place.work / "probe.py").write_text(PROBE)
    return [sys.executable, "-I", "probe.py", "wanted.json"]


@pytest.mark.parametrize("mode", ["auto", "read-only"])
def test_a_sandboxed_command_reaches_nothing_of_the_relays(place: Home, mode: str) -> None:
    place.state.mkdir()
    (place.state / "config.toml").write_text('effort = "low"\n')
    place.start("cx", "codex", "--approval-mode", mode)
    place.start("other", "demo")
    command = shlex.join(wanted(place))
    assert "reached []" in place.run("send", "cx", f"RUN:{command}", "--wait").stdout


def test_inside_the_sandbox_its_own_verbs_files_and_scratch_work_and_a_persons_do_not(place: Home) -> None:
    place.start("cx", "codex", "--approval-mode", "auto")
    place.start("bob", "demo")
    (place.work / "map.txt").write_text("the way")
    inside = place.state / "agents" / "cx" / "inside"

    def ran(command: str) -> str:
        done = place.run("send", "cx", f"RUN:{command}", "--wait").stdout
        assert "Output:" in done, done
        return done.partition("Output:\n")[2]

    assert "message" in ran("relay-runner send bob hello --attach map.txt")
    assert "bob" in ran("relay-runner ps")
    assert "its own folder only" in ran("relay-runner send bob hello --attach /etc/passwd 2>&1")
    assert "an agent cannot" in ran("relay-runner approve 1 2>&1")
    bare = f"env -i PATH=$PATH RELAY_RUNNER_HOME={place.state} relay-runner"
    assert "rc 0" not in ran(f"{bare} approve 1 2>&1; echo rc $?")
    id = place.send("cx", f"RUN:cat {inside}/attachments/*/*map.txt", "--attach", "map.txt")
    assert "the way" in place.settled(id)["result"]
    assert "Read-only" in ran(f"touch {inside}/bin/new {inside}/attachments/new 2>&1")
    assert not (inside / "bin" / "new").exists()
    assert "it held" in ran(f"touch {inside}/note && echo it held")


def test_an_agent_without_a_sandbox_is_known_by_what_started_it(place: Home) -> None:
    place.start("cx", "codex", "--approval-mode", "bypass")
    place.start("bob", "demo")
    bare = f"env -i PATH=$PATH HOME={place.root} RELAY_RUNNER_HOME={place.state} relay-runner"
    for command, said in (
        ("approve 1", "an agent cannot"),
        ("send bob hello", "inside agent cx without its environment"),
        ("start demo --agent-id bob --headless --replace", "an agent cannot take over"),
    ):
        for how in (f"{bare} {command}", f"setsid -w {bare} {command}"):
            shown = place.run("send", "cx", f"RUN:{how} 2>&1", "--wait").stdout
            assert said in shown, shown


def test_what_is_set_while_it_runs_hides_the_same(place: Home) -> None:
    place.start("cx", "codex", "--approval-mode", "auto")
    for words, reached in (("sandbox=read-only", False), ("approvalMode=bypass", True), ("approvalMode=auto", False)):
        place.run("operate", "cx", "settings", words)
        shown = place.run("send", "cx", f"RUN:grep -c . {place.state}/relay.json && echo it is open", "--wait").stdout
        assert ("it is open" in shown.partition("Output:")[2]) is reached, words
