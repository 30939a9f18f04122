"""The real Codex under the provider: a temporary home, a fake model, and a second client where a person would sit."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex import launch
from tests.fake_models.responses import FakeResponses
from tests.harness import Home
from tests.person import Person
from tests.programs import program

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
    return program("codex")


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
    return _viewer(place, agent, "capture-pane", "-p")


def viewer_pid(place: Home, agent: str = "cx") -> int:
    """Return the pid of the Codex that people see."""
    return int(_viewer(place, agent, "list-panes", "-F", "#{pane_pid}"))


def _viewer(place: Home, agent: str, *words: str) -> str:
    socket = Path(place.tmux_socket(agent)).with_suffix(".v")
    command = ["tmux", "-S", str(socket), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout


class Viewer(Person):
    """A person who looks at an agent by the attach command."""

    def __init__(self, place: Home, agent: str) -> None:
        super().__init__(place.root, place.file(agent, "info.json")["attach"])
