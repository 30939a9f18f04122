"""The installed program as a person or a spawner runs it: real processes, a home of its own, everything ended after.

One `Home` is one RELAY_RUNNER_HOME: an embedded relay and the agents on it. Nothing here knows the program's insides,
but for its files (`info.json`, `process.json`, `relay.json`), which tests kill by.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

PROGRAM = (sys.executable, "-m", "relay_runner")
PATIENCE_S = 60.0
POLL_S = 0.02
T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], *, patience_s: float = PATIENCE_S) -> T:
    """Return the first true answer of `look`; fail the test with `what` when there is none in time."""
    deadline = time.monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(POLL_S)


def running(pid: int | None) -> bool:
    """Say whether a process runs and is no zombie."""
    if pid is None:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a process of this test and wait until SIGKILL took it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    if number == signal.SIGKILL:
        until(f"process {pid} is gone", lambda: not running(pid))


@dataclass
class Home:
    """One installation."""

    root: Path
    environ: dict[str, str]
    runners: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def make(cls, root: Path, **environ: str) -> Home:
        """Return a home in `root` with a scrubbed environment."""
        work = root / "work"
        work.mkdir(parents=True, exist_ok=True)
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(root / "user"),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "RELAY_RUNNER_HOME": str(root / "home"),
        }
        (root / "user").mkdir(exist_ok=True)
        return cls(root, {**base, **environ})

    @property
    def state(self) -> Path:
        return self.root / "home"

    @property
    def work(self) -> Path:
        return self.root / "work"

    # --- running the program ---

    def run(
        self, *args: str, stdin: str | None = None, timeout_s: float = PATIENCE_S, check: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; `check` is the exit code that it must have."""
        done = subprocess.run(
            [*PROGRAM, *args],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.environ,
            cwd=self.work,
            check=False,
        )
        if check is not None:
            assert done.returncode == check, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args: str, check: int | None = 0, stdin: str | None = None) -> Any:
        """Run one command with `--json` and return what it prints."""
        return json.loads(self.run(*args, "--json", check=check, stdin=stdin).stdout)

    def start(self, agent: str, provider: str, *args: str, wait: bool = True) -> subprocess.Popen[bytes]:
        """Start an agent headless; return when it takes messages."""
        log = (self.root / f"{agent}.{len(self.runners)}.log").open("wb")
        with log:
            runner = subprocess.Popen(
                [*PROGRAM, "start", provider, "--headless", "--agent-id", agent, *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environ,
                cwd=self.work,
                start_new_session=True,
            )
        self.runners.append(runner)
        if wait:
            until(
                f"{agent} is ready",
                lambda: runner.poll() is not None or self.agent(agent, pid=runner.pid).get("ready"),
            )
            assert runner.poll() is None, self.log(agent)
        return runner

    # --- looking ---

    def file(self, agent: str, name: str) -> dict[str, Any]:
        """Return one of an agent's JSON files, {} when it is not there."""
        try:
            found = json.loads((self.state / "agents" / agent / name).read_text())
        except (OSError, ValueError):
            return {}
        assert isinstance(found, dict)
        return found

    def agent(self, agent: str, *, pid: int | None = None) -> dict[str, Any]:
        """Return what the runner's own control server says of its status, {} when it does not answer."""
        info, control = self.file(agent, "info.json"), self.file(agent, "control.json")
        if not info or not control or (pid is not None and info.get("pid") != pid):
            return {}
        request = urllib.request.Request(
            f"{control['url']}/status", headers={"Authorization": f"Bearer {control['secret']}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                found = json.loads(answer.read())
        except OSError:
            return {}
        assert isinstance(found, dict)
        return found

    def status(self, agent: str) -> str | None:
        """Return the agent's one-word status by its runner."""
        return str(self.agent(agent).get("agentStatus", "offline"))

    def runner_pid(self, agent: str) -> int:
        return int(self.file(agent, "info.json")["pid"])

    def provider_pid(self, agent: str) -> int:
        return int(self.file(agent, "process.json")["terminal"]["process"]["pid"])

    def relay_pid(self) -> int:
        return int(json.loads((self.state / "relay.json").read_text())["pid"])

    def tmux_socket(self, agent: str) -> str:
        return str(self.file(agent, "process.json")["terminal"]["socket"])

    def tmux_pid(self, agent: str) -> int:
        return int(self.tmux(agent, "display-message", "-p", "#{pid}"))

    def tmux(self, agent: str, *args: str) -> str:
        """Run one tmux command on the agent's own server."""
        done = subprocess.run(
            ["tmux", "-S", self.tmux_socket(agent), *args], capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout

    def screen(self, agent: str) -> str:
        """Return what the agent's terminal shows."""
        return self.tmux(agent, "capture-pane", "-p")

    def log(self, agent: str) -> str:
        """Return everything that the agent's runners said."""
        files = sorted(self.root.glob(f"{agent}.*.log"))
        return "\n".join(file.read_text(errors="replace") for file in files)

    # --- messages ---

    def send(self, to: str, body: str, *args: str) -> int:
        """Send a message and return its id."""
        return int(self.json("send", to, "-", *args, stdin=body)["id"])

    def message(self, id: int) -> dict[str, Any]:
        """Return what became of a message, asked straight from the relay: a command each time would take too long."""
        return until("the relay answers", lambda: self.get(f"/api/v1/messages/{id}"))

    def asked(self, agent: str, **wanted: Any) -> dict[str, Any]:
        """Wait until an agent's newest permission has these values, and return it."""

        def look() -> dict[str, Any] | None:
            found = self.get_list(f"/api/v1/permissions?agentId={agent}")
            newest = found[-1] if found else {}
            return newest if newest and all(newest[name] == value for name, value in wanted.items()) else None

        return until(f"{agent} asks with {wanted}", look)

    def permission(self, id: str, **wanted: Any) -> dict[str, Any]:
        """Wait until a permission has these values, and return it."""

        def look() -> dict[str, Any] | None:
            found = self.get(f"/api/v1/permissions/{id}")
            return found if found and all(found[name] == value for name, value in wanted.items()) else None

        return until(f"permission {id} has {wanted}", look)

    def get(self, path: str) -> dict[str, Any]:
        """Return what the relay itself answers to the person, {} when it does not."""
        found = self._get(path) or {}
        assert isinstance(found, dict)
        return found

    def get_list(self, path: str) -> list[dict[str, Any]]:
        """Return the list that the relay itself answers to the person, [] when it does not answer."""
        found = self._get(path) or []
        assert isinstance(found, list)
        return found

    def _get(self, path: str) -> Any:
        try:
            relay = json.loads((self.state / "relay.json").read_text())
            request = urllib.request.Request(
                relay["url"] + path, headers={"Authorization": f"Bearer {relay['operatorToken']}"}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError):
            return None

    def inside(self, agent: str) -> Home:
        """Return this home as the agent's own tools see it: through the control server, with the local secret."""
        control = self.file(agent, "control.json")
        mine = {
            "AGENT_RELAY_URL": control["url"],
            "AGENT_RELAY_SOCKET": control["socket"],
            "AGENT_RELAY_TOKEN": control["secret"],
            "AGENT_RELAY_ID": agent,
            "AGENT_RELAY_PROVIDER_SESSION_ID": control["providerSessionId"],
            "AGENT_RELAY_CONTEXT_STATE_DIR": str(self.state / "agents" / agent),
        }
        return Home(self.root, {**self.environ, **mine})

    def delivery(self, id: int) -> dict[str, Any]:
        """Return the one delivery of a message."""
        (delivery,) = self.message(id)["deliveries"]
        assert isinstance(delivery, dict)
        return delivery

    def reaches(self, id: int, *states: str) -> dict[str, Any]:
        """Wait until a message's delivery is in one of these states, and return the delivery."""

        def look() -> dict[str, Any] | None:
            delivery = self.delivery(id)
            return delivery if delivery["state"] in states else None

        return until(f"message {id} is {' or '.join(states)}", look)

    def settled(self, id: int) -> dict[str, Any]:
        """Wait until nothing more happens to a message by itself, and return its delivery."""
        return self.reaches(id, "done", "dead", "unknown")

    # --- the end ---

    def close(self) -> None:
        """End everything that this home started, by pid and by its own sockets."""
        for runner in self.runners:
            if runner.poll() is None:
                runner.kill()
            runner.wait()
        agents = self.state / "agents"
        for folder in agents.iterdir() if agents.is_dir() else ():
            info = self.file(folder.name, "info.json")
            if running(info.get("pid")):
                kill(int(info["pid"]))
            terminal = self.file(folder.name, "process.json").get("terminal", {})
            if socket := terminal.get("socket"):
                subprocess.run(["tmux", "-S", socket, "kill-server"], capture_output=True, timeout=20, check=False)
            pid = terminal.get("process", {}).get("pid")
            if running(pid):
                kill(int(pid))
        with contextlib.suppress(OSError, ValueError, KeyError):
            if running(self.relay_pid()):
                kill(self.relay_pid(), signal.SIGTERM)
                until("the relay is gone", lambda: not running(self.relay_pid()), patience_s=20)
        forget_short_path(self.state)


def forget_short_path(state: Path) -> None:
    """Take away the link by which sockets in a long path are reached."""
    with contextlib.suppress(OSError):
        Path((state / "sockets.path").read_text()).unlink()


@contextlib.contextmanager
def home(root: Path, environ: Mapping[str, str] | None = None) -> Iterator[Home]:
    """Give a home and take everything of it away at the end."""
    made = Home.make(root, **(environ or {}))
    try:
        yield made
    finally:
        made.close()
