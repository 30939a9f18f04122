"""Where a relay is."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from relay_runner.errors import ConfigError
from relay_runner.relay.endpoint import Endpoint, fixed, through
from tests.terminals import sockets

pytestmark = pytest.mark.anyio
__all__ = ["sockets"]


@pytest.mark.parametrize(
    "url", ["", "relay", "ftp://x", "http://", "http://host:port", "http://h:0", "//x", "http://[bad"]
)
async def test_what_is_no_url_is_said_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="not a relay URL"):
        fixed(url, "t")


async def test_a_fixed_relay_stays_where_it_is() -> None:
    source = fixed(" https://relay.example:8443/base/ ", "t")
    assert await source() == Endpoint("https://relay.example:8443/base", "t")
    assert (await source()).bus_url == "wss://relay.example:8443/base"
    assert Endpoint("http://h", "t").bus_url == "ws://h"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http://10.0.0.1", False),
        ("https://relay.example", False),
    ],
)
async def test_a_local_relay_needs_no_proxy(url: str, expected: bool) -> None:
    assert Endpoint(url, "").is_local is expected


async def test_a_unix_socket_is_preferred_wherever_it_can_be_reached(sockets: Path) -> None:
    at = sockets / "x.ctl"
    source = through(fixed("http://127.0.0.1:1", "t"), str(at))
    assert await source() == Endpoint("http://127.0.0.1:1", "t")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(at))
        listener.listen()
        assert await source() == Endpoint("http://127.0.0.1:1", "t", str(at))
    assert await through(fixed("http://127.0.0.1:1", "t"), None)() == Endpoint("http://127.0.0.1:1", "t")
