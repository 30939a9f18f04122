"""Whoever takes the port of a relay that died gets no token: this user's programs speak to it at a unix socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from relay_runner import config
from relay_runner.relay import embedded
from relay_runner.relay.http import HttpRelay
from tests.harness import Home, home, kill, until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


class Squatter:
    """Takes a port as soon as it is free, and keeps what it is told there."""

    def __init__(self, port: int) -> None:
        self.heard = b""
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        until("the port of the dead relay is taken", lambda: self._bind(port))
        self.listener.listen()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _bind(self, port: int) -> bool:
        try:
            self.listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self.listener.accept()
                with caller:
                    caller.settimeout(1)
                    self.heard += caller.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(10)


def test_a_squatter_hears_no_token_and_the_agent_goes_on(place: Home) -> None:
    place.start("bob", "demo")
    file = json.loads((place.state / "relay.json").read_text())
    assert Path(file["socket"]).is_socket()
    assert place.settled(place.send("bob", "one"))["outcome"] == "completed"
    kill(place.relay_pid())
    squatter = Squatter(urlsplit(file["url"]).port or 0)
    try:
        until("another relay runs", lambda: json.loads((place.state / "relay.json").read_text())["url"] != file["url"])
        until("the agent is there", lambda: place.get("/api/v1/agents/bob").get("connected"))
        assert place.settled(place.send("bob", "two"))["outcome"] == "completed"
    finally:
        squatter.close()
    assert b"authorization" not in squatter.heard.lower()


@pytest.mark.anyio
async def test_a_client_in_the_middle_of_its_work_tells_a_squatter_nothing(place: Home) -> None:
    place.run("ps")
    file = json.loads((place.state / "relay.json").read_text())
    paths = config.paths({config.HOME_VARIABLE: str(place.state)})
    async with HttpRelay(embedded.source(paths)) as relay:
        assert await relay.agents() == []
        kill(place.relay_pid())
        squatter = Squatter(urlsplit(file["url"]).port or 0)
        try:
            assert await relay.agents() == [], "by the relay that was started in its place"
        finally:
            squatter.close()
    assert b"authorization" not in squatter.heard.lower()
