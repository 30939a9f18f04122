"""What both fake model APIs are: an HTTP server on loopback, in this process, that remembers every request."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Generic, Protocol, Self, TypeVar


class Prompting(Protocol):
    """A request that carries a conversation."""

    def prompts(self) -> list[str]:
        """Return every text that the model is shown from outside, one per item."""
        ...


R = TypeVar("R", bound=Prompting)


class FakeModel(Generic[R]):
    """The server; `with` starts it on a free port of 127.0.0.1."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.requests: list[R] = []
        self.failures: Counter[str] = Counter()
        self.ids = itertools.count(1)
        self.closing = threading.Event()
        """Set at the end: nothing waits any longer."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def prompts_with(self, text: str) -> set[str]:
        """Return the different prompts, over all requests, that contain `text`."""
        return {prompt for request in list(self.requests) for prompt in request.prompts() if text in prompt}

    def times_in_conversation(self, text: str) -> int:
        """Return in how many prompts of the newest conversation `text` stands: 1 means that it went in once."""
        requests = [request for request in list(self.requests) if any(text in one for one in request.prompts())]
        return sum(text in prompt for prompt in requests[-1].prompts()) if requests else 0


class Quiet(BaseHTTPRequestHandler):
    """A handler that keeps the test's output clean."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
