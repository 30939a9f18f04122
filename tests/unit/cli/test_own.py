"""A runner of this machine that the relay has not heard of is asked itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from relay_runner.cli import own
from relay_runner.config import Paths
from relay_runner.protocol.agents import Status, Transport, TransportState
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.wire import encode

TOLD = Status(transport=Transport(state=TransportState.UNAUTHORIZED, since=5.0, detail="the token was revoked"))


class _Control(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        good = self.headers["Authorization"] == "Bearer s3cret" and self.path == "/status"
        self.send_response(200 if good else 401)
        self.end_headers()
        self.wfile.write(encode(TOLD) if good else b"{}")

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Paths]:
    paths = Paths(state=tmp_path, config=tmp_path)
    paths.agent("bob").root.mkdir(parents=True)
    with HTTPServer(("127.0.0.1", 0), _Control) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        endpoint = ControlEndpoint(url=url, port=server.server_port, secret="s3cret", provider_session_id="p")
        paths.agent("bob").control.write_bytes(encode(endpoint))
        yield paths
        server.shutdown()
        thread.join()


def test_it_says_what_it_publishes(control: Paths) -> None:
    assert own.status(control, "bob") == TOLD


def test_one_that_does_not_answer_says_nothing(control: Paths, tmp_path: Path) -> None:
    assert own.status(control, "eve") is None
    for text in ('{"url": "http://127.0.0.1:9"', '{"url": "http://127.0.0.1:9", "port": 9, "secret": "x"}'):
        control.agent("bob").control.write_text(text)
        assert own.status(control, "bob") is None


def test_a_person_reads_what_is_in_the_way() -> None:
    now = time.time()
    assert own.explain(None) == "its runner lives, but has not reached the relay"
    assert own.explain(None, known=True) == "its runner lives, but neither the relay nor anybody here hears of it"
    transport = Transport(state=TransportState.UNAUTHORIZED, since=now - 65, detail="the token was revoked")
    said = own.explain(Status(transport=transport))
    assert said == "its runner lives, but is not taken by the relay for 1m: the token was revoked"
