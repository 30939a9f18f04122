"""What a runner of this machine says of its agent, asked directly: for when the relay has not heard of it."""

from __future__ import annotations

import urllib.error
import urllib.request

from relay_runner.cli import output
from relay_runner.config import Paths
from relay_runner.errors import ProtocolError
from relay_runner.protocol.agents import Status, TransportState
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.wire import decode

ANSWER_S = 1.0
_WORDS = {
    TransportState.CONNECTED: "is only just connected",
    TransportState.RECONNECTING: "cannot reach the relay",
    TransportState.HTTP_ONLY: "reaches the relay by HTTP only",
    TransportState.UNAUTHORIZED: "is not taken by the relay",
}


def status(paths: Paths, agent_id: str) -> Status | None:
    """Return what the agent's runner publishes; None where it does not answer."""
    try:
        control = decode(paths.agent(agent_id).control.read_bytes(), ControlEndpoint)
        request = urllib.request.Request(f"{control.url}/status", headers={"Authorization": f"Bearer {control.secret}"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=ANSWER_S) as answer:
            return decode(answer.read(), Status)
    except (OSError, ValueError, ProtocolError, urllib.error.URLError):
        return None


def explain(found: Status | None, *, known: bool = False) -> str:
    """Return one line for a person that says why the relay does not hear of a runner that lives.

    `known` says that the relay has heard of it before.
    """
    if found is None and known:
        return "its runner lives, but neither the relay nor anybody here hears of it"
    transport = found.transport if found is not None else None
    if transport is None:
        return "its runner lives, but has not reached the relay"
    since = f" for {output.age(transport.since)}"
    why = f": {transport.detail}" if transport.detail else ""
    return f"its runner lives, but {_WORDS[transport.state]}{since}{why}"
