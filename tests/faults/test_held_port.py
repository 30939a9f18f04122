"""The port to which a live program's hooks go is never free, and what they say while no runner is there is not lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Home, home, kill, running, until
from tests.terminals import bindable, connected

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")
# Takes the port the moment that it can, by any option there is, and says so.
SQUATTER = """\
import socket, sys, time
port, deadline = int(sys.argv[1]), time.monotonic() + 60
print("trying", flush=True)
while time.monotonic() < deadline:
    for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):
        with socket.socket() as taken:
            for option in options:
                taken.setsockopt(socket.SOL_SOCKET, option, 1)
            try:
                taken.bind(("127.0.0.1", port))
                taken.listen()
            except OSError:
                continue
            print("taken", flush=True)
            sys.exit()
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


class Squatter:
    """Another process that wants a port, all the time."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", SQUATTER, str(port)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None and self._process.stdout.readline() == "trying\n"

    @property
    def has_it(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def port_of(place: Home, agent: str = "bob") -> int:
    return int(place.file(agent, "control.json")["port"])


def test_nobody_takes_the_port_of_a_live_program_at_any_stage(place: Home) -> None:
    runner = place.start("bob", "demo")
    port, program = port_of(place), place.provider_pid("bob")
    squatter = Squatter(port)
    try:
        for killed in (True, False, True):
            before = runner
            if killed:
                kill(runner.pid)
                assert running(program) and not squatter.has_it and not bindable(port)
            runner = place.start("bob", "demo", *([] if killed else ["--replace"]))
            before.wait(30)
            assert not squatter.has_it and not bindable(port)
            assert (port_of(place), place.provider_pid("bob")) == (port, program)
            assert place.settled(place.send("bob", "still you"))["outcome"] == "completed"
        kill(runner.pid)
        place.run("stop", "bob")
        assert not running(program)
        until("the port is free when the program is dead", lambda: squatter.has_it)
    finally:
        squatter.close()


def test_a_post_while_no_runner_is_there_is_answered_by_the_next_one(place: Home) -> None:
    runner = place.start("bob", "demo")
    control = place.file("bob", "control.json")
    kill(runner.pid)
    answers: list[Any] = []

    def post() -> None:
        request = urllib.request.Request(
            f"{control['url']}/status",
            headers={"Authorization": f"Bearer {control['secret']}"},
            data=json.dumps({"status": "busy", "id": "x", "label": "posted to nobody"}).encode(),
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answers.append(json.loads(answer.read()))

    poster = threading.Thread(target=post)
    poster.start()
    until("it is connected", lambda: connected(control["port"]))
    assert poster.is_alive()
    place.start("bob", "demo")
    poster.join(60)
    assert answers == [{"accepted": True, "reason": None}]


def test_what_the_agent_runs_goes_by_the_unix_socket(place: Home) -> None:
    runner = place.start("bob", "demo")
    control = place.file("bob", "control.json")
    inside = place.inside("bob")
    assert control["socket"] == inside.environ["AGENT_RELAY_SOCKET"]
    (folder,) = {Path(control["socket"]).parent.resolve()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert inside.json("ps")[0]["agentId"] == "bob"
    kill(runner.pid)
    # Refused at once: at the port it would be connected, and wait in the backlog for an answer.
    assert "no relay answers" in inside.run("ps", check=1).stderr
