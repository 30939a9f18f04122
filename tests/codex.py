"""The real Codex under the provider: a temporary home, a fake model, and a second client where a person would sit."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex import launch
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, until

NODE = Path(__file__).parents[1] / ".node" / "node_modules"
PROGRAM = NODE / ".bin" / "codex"
KEY = "sk-fake-codex"
CONFIG = """\
model = "gpt-5.5"
model_provider = "fake"

[model_providers.fake]
name = "fake"
base_url = "{url}"
wire_api = "responses"
env_key = "FAKE_KEY"
request_max_retries = 1
stream_max_retries = 1
"""


@pytest.fixture
def model() -> Iterator[FakeResponses]:
    """A Responses API of this test."""
    with FakeResponses() as fake:
        yield fake


def codex_program() -> Path:
    """Return the pinned program; skip the test where it is not installed."""
    if not PROGRAM.exists():
        pytest.skip("Codex is not installed: run ./scripts/test, which installs the pinned version")
    return PROGRAM


def codex_home(folder: Path, model: FakeResponses) -> Path:
    """Make a home in which Codex knows one model provider, and nothing else."""
    (folder / ".codex").mkdir(parents=True, exist_ok=True)
    (folder / ".codex" / "config.toml").write_text(CONFIG.format(url=model.url))
    return folder


def codex_environ(home: Path) -> dict[str, str]:
    """Return the whole environment of a Codex that talks to the fake model and to nobody else."""
    return {
        "PATH": f"{codex_program().parent}:{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "FAKE_KEY": KEY,
    }


async def approve(spec: LaunchSpec) -> None:
    """Say yes to what the agent's app-server asks, as a person's Codex does: by another connection to it."""
    from websockets.asyncio.client import unix_connect

    path = os.path.realpath(launch.socket(spec))
    async with asyncio.timeout(30), unix_connect(path, "ws://localhost/", compression=None, max_size=None) as person:

        async def say(**message: object) -> None:
            await person.send(json.dumps(message))

        client = {"name": "person", "title": "Person", "version": "1"}
        await say(id=1, method="initialize", params={"clientInfo": client, "capabilities": {"experimentalApi": True}})
        await say(method="initialized")
        await say(id=2, method="thread/loaded/list", params={})
        async for data in person:
            message = json.loads(data)
            if message.get("id") == 2 and "result" in message:
                thread = message["result"]["data"][0]
                await say(id=3, method="thread/resume", params={"threadId": thread, "excludeTurns": True})
            elif str(message.get("method", "")).endswith("/requestApproval"):
                await say(id=message["id"], result={"decision": "accept"})
            elif message.get("method") == "serverRequest/resolved":
                return


def viewed(place: Home, agent: str = "cx") -> str:
    """Return what people who look at an agent see; empty where nobody does.

    What reaches a person's terminal comes in pieces, with movements of the cursor between them.
    """
    socket = Path(place.tmux_socket(agent)).with_suffix(".v")
    done = subprocess.run(
        ["tmux", "-S", str(socket), "capture-pane", "-p"], capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout


class Viewer:
    """A person's terminal: a tmux of its own, in which the attach command runs."""

    def __init__(self, place: Home, agent: str) -> None:
        self._place = place
        self._socket = str(place.root / "viewer.sock")
        words = shlex.join(place.file(agent, "info.json")["attach"])
        self.tmux(
            "-f", "/dev/null", "new-session", "-d", "-s", "person", "-x", "140", "-y", "40", "--", f"{words}; cat"
        )

    def tmux(self, *args: str) -> str:
        environ = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", "HOME": "/nowhere"}
        done = subprocess.run(
            ["tmux", "-S", self._socket, *args], capture_output=True, text=True, timeout=20, env=environ, check=False
        )
        return done.stdout

    def shows(self, text: str) -> str:
        def look() -> str | None:
            screen = self.tmux("capture-pane", "-p", "-t", "person")
            return screen if text in screen else None

        try:
            return until(f"the person sees {text!r}", look, patience_s=20)
        except AssertionError:
            raise AssertionError(self.tmux("capture-pane", "-p", "-t", "person")) from None

    def types(self, text: str, *keys: str) -> None:
        self.tmux("send-keys", "-t", "person", "-l", text)
        for key in keys:
            self.tmux("send-keys", "-t", "person", key)

    def pid(self) -> int:
        """Return the pid of what runs in it."""
        return int(self.tmux("display-message", "-p", "-t", "person", "#{pane_pid}"))

    def close(self) -> None:
        self.tmux("kill-server")
