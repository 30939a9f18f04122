"""The gate before every call: a browser on another site must not reach a relay on this machine.

A page can make a browser call 127.0.0.1, and by a name that it re-points (DNS rebinding) even read the answer; such
calls carry the page's Origin, or its Host. A page of another program on this machine is another site: only an Origin
that is this very server passes, by the name and port that the browser called.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from relay_runner.protocol.calls import Problem, ProblemBody
from relay_runner.protocol.wire import encode
from relay_runner.server.http import Receive, Scope, Send, send_answer


def is_loopback(host: str) -> bool:
    """Say whether a host name or address means this machine only."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Gate:
    """Wraps an application; `local_only` also refuses every Host that is not loopback."""

    def __init__(self, app: object, *, local_only: bool) -> None:
        self._app = app
        self._local_only = local_only
        self._good: set[tuple[bytes, bytes]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            host = origin = b""
            for name, value in scope["headers"]:
                if name == b"host":
                    host = value
                elif name == b"origin":
                    origin = value
            if (host, origin) not in self._good:
                reason = self._refusal(host, origin)
                if reason is not None:
                    await _refuse(scope, send, reason)
                    return
                if len(self._good) < 100:
                    self._good.add((host, origin))
        await self._app(scope, receive, send)  # type: ignore[operator]

    def _refusal(self, host: bytes, origin: bytes) -> str | None:
        if self._local_only and not is_loopback(_host_of(f"//{host.decode('latin-1')}")):
            return "this relay answers to loopback names only"
        if origin and not _is_own(origin.decode("latin-1"), host.decode("latin-1")):
            return "this relay accepts no calls from other web pages"
        return None


def _is_own(origin: str, host: str) -> bool:
    """Say whether a page came from this server: a loopback name, and the one that was called with its port."""
    return is_loopback(_host_of(origin)) and origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


async def _refuse(scope: Scope, send: Send, reason: str) -> None:
    body = encode(ProblemBody(error=Problem(code="forbidden", message=reason)))
    if scope["type"] == "websocket":
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "websocket.http.response.start", "status": 403, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send_answer(send, 403, body, close=True)
