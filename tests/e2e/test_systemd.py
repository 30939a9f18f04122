"""The units for systemd: it takes them, and what it does by them leaves tmux and the program to the runner.

No systemd runs here. `Service` does what it does by a unit: it starts the command, tells a stop to whom `KillMode` says
by `KillSignal`, kills after `TimeoutStopSec`, and says whether the end is followed by a start.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Home, home, kill, running, until

UNITS = Path(__file__).parents[2] / "plugins" / "systemd"
ABNORMAL = "on-abnormal"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        made.environ["PATH"] = f"{Path(sys.executable).parent}:{made.environ['PATH']}"
        yield made


def settings(*files: Path) -> dict[str, str]:
    """Return what unit files set; a later one wins."""
    lines = [line for file in files for line in file.read_text().splitlines() if "=" in line and line[0] not in "#;"]
    return dict(line.split("=", 1) for line in lines)


class Service:
    """One agent's service, as systemd runs it."""

    def __init__(self, place: Home, agent: str, *drop_ins: Path, start: str = "") -> None:
        self.place = place
        self.agent = agent
        self.unit = settings(UNITS / "relay-runner@.service", *drop_ins)
        self.command = self.unit["ExecStart"].replace("%i", agent).replace("$RELAY_RUNNER_START", start).split()
        self.main: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Start the command; return the runner's pid when the agent takes messages."""
        log = (self.place.root / f"{self.agent}.{len(self.place.runners)}.log").open("wb")
        with log:
            self.main = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.place.environ,
                cwd=self.place.work,
                start_new_session=True,
            )
        self.place.runners.append(self.main)
        main = self.main
        until("it is ready", lambda: main.poll() is not None or self.place.agent(self.agent, pid=main.pid).get("ready"))
        assert main.poll() is None, self.place.log(self.agent)
        return main.pid

    def stop(self) -> int:
        """Do what a stop of the unit does, and return how the main process ended."""
        assert self.main is not None and self.unit["KillMode"] == "process", "systemd would kill tmux and the program"
        os.kill(self.main.pid, getattr(signal, self.unit["KillSignal"]))
        try:
            return self.main.wait(float(self.unit["TimeoutStopSec"]))
        except subprocess.TimeoutExpired:
            self.main.kill()
            return self.main.wait()

    def restarts(self, code: int) -> bool:
        """Say whether systemd starts it again after its main process ended so."""
        assert self.unit["Restart"] == ABNORMAL
        clean = {-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGPIPE}
        return code < 0 and code not in clean


def test_a_stop_ends_the_agent_in_order_and_the_next_start_goes_on_as_before(place: Home) -> None:
    service = Service(place, "bob", start="demo --tag worker")
    service.start()
    before = place.send("bob", "echo before")
    assert place.settled(before)["outcome"] == "completed"
    provider, tmux, session = (
        place.provider_pid("bob"),
        place.tmux_pid("bob"),
        place.file("bob", "info.json")["sessionId"],
    )
    code = service.stop()
    assert code == 0 and not service.restarts(code)
    assert not running(provider) and not running(tmux)
    # Without the line of what to start: as it was the last time, in its session.
    again = Service(place, "bob")
    again.start()
    assert place.file("bob", "info.json")["sessionId"] == session
    (row,) = place.json("ps")
    assert (row["provider"], row["status"]) == ("demo", "idle")
    assert place.settled(place.send("bob", "echo after"))["outcome"] == "completed"
    again.stop()


def test_with_the_drop_in_a_stop_leaves_the_program_for_the_next_start(place: Home) -> None:
    service = Service(place, "bob", UNITS / "hand-over.conf", start="demo")
    service.start()
    provider, tmux = place.provider_pid("bob"), place.tmux_pid("bob")
    code = service.stop()
    assert code == 0 and not service.restarts(code)
    assert running(provider) and running(tmux)
    waits = place.send("bob", "echo while nobody looked after it")
    service.start()
    assert place.provider_pid("bob") == provider
    assert place.settled(waits)["outcome"] == "completed"
    assert Service.stop(_in_order(service)) == 0 and not running(provider)


def test_a_runner_that_was_killed_is_started_again_and_adopts_its_program(place: Home) -> None:
    service = Service(place, "bob", start="demo")
    pid = service.start()
    provider = place.provider_pid("bob")
    kill(pid)
    assert service.main is not None and service.restarts(service.main.wait())
    assert running(provider)
    service.start()
    assert place.provider_pid("bob") == provider
    assert service.stop() == 0 and not running(provider)


def test_an_agent_that_gave_up_stays_parked(place: Home) -> None:
    service = Service(place, "bob", start="generic -- sh -c exit")
    service.main = subprocess.Popen(service.command, stderr=subprocess.PIPE, env=place.environ, cwd=place.work)
    place.runners.append(service.main)
    _, said = service.main.communicate(timeout=60)
    assert service.main.returncode == 1 and not service.restarts(service.main.returncode), said


def test_a_wrong_flag_is_not_tried_again(place: Home) -> None:
    service = Service(place, "bob", start="demo --approval-mode maybe")
    done = subprocess.run(service.command, capture_output=True, env=place.environ, cwd=place.work, check=False)
    assert done.returncode == 2 and not service.restarts(done.returncode)
    assert not service.restarts(1)  # parked: its program could not be kept up
    assert service.restarts(-signal.SIGKILL)


def _in_order(service: Service) -> Service:
    """Return the service as it is without the drop-in."""
    service.unit["KillSignal"] = settings(UNITS / "relay-runner@.service")["KillSignal"]
    return service


@pytest.mark.parametrize("drop_in", [None, "hand-over.conf"])
def test_systemd_takes_the_units(tmp_path: Path, drop_in: str | None) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for name in ("relay-runner@bob.service", "relay-runner-relay.service"):
        shutil.copy(UNITS / name.replace("@bob", "@"), tmp_path / name)
    if drop_in is not None:
        (tmp_path / "relay-runner@bob.service.d").mkdir()
        shutil.copy(UNITS / drop_in, tmp_path / "relay-runner@bob.service.d" / drop_in)
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    done = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            "--user",
            "--man=no",
            "./relay-runner@bob.service",
            "./relay-runner-relay.service",
        ],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)},
        cwd=tmp_path,
        check=False,
    )
    # It exits with 0 for what it does not know and leaves out.
    assert (done.returncode, done.stderr) == (0, "")
