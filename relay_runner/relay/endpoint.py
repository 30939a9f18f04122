"""Where a relay is and with which token, asked anew for every connection.

An `EndpointSource` is awaited before the first call and after every failure to reach the relay: the one of the embedded
relay reads relay.json again, and starts the relay where it died.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from relay_runner.config import sockets
from relay_runner.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A relay's address and the token to show there."""

    url: str
    token: str
    socket: str | None = None
    """A unix socket at which the same relay is reached."""

    @property
    def bus_url(self) -> str:
        """The same relay's WebSocket scheme and host."""
        return "ws" + self.url.removeprefix("http")

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, where no proxy stands in between."""
        host = urlsplit(self.url).hostname or ""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


EndpointSource = Callable[[], Awaitable[Endpoint]]


def through(found: EndpointSource, socket: str | None) -> EndpointSource:
    """Return the source of the same relay, at a unix socket wherever that can be reached."""

    async def nearer() -> Endpoint:
        endpoint = await found()
        return replace(endpoint, socket=socket) if socket and sockets.reachable(Path(socket)) else endpoint

    return nearer


def fixed(url: str, token: str) -> EndpointSource:
    """Return the source of a relay that stays where it is; raise `ConfigError` for what is no URL of one."""
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"not a relay URL: {url!r}", hint="use http://HOST:PORT or https://HOST")
    endpoint = Endpoint(url.strip().rstrip("/"), token)

    async def same() -> Endpoint:
        return endpoint

    return same
