"""The agents of a relay in memory."""

from __future__ import annotations

import asyncio

import pytest

from relay_runner.errors import ClaimLost, RelayNotFound
from relay_runner.protocol.frames import Superseded
from relay_runner.relay.memory.board import Board
from relay_runner.relay.memory.members import Frames, Members
from tests.contract.relays import Clock, hello


def members() -> Members:
    return Members(Board(Clock()))


def test_a_newer_instance_ends_the_bus_of_the_older() -> None:
    made = members()
    old: Frames = asyncio.Queue()
    made.join(hello("bob"), old)
    made.join(hello("bob", "two"), asyncio.Queue())
    assert old.get_nowait() == Superseded(by="two") and old.get_nowait() is None
    with pytest.raises(ClaimLost):
        made.join(hello("bob"), asyncio.Queue())
    made.leave("bob", old)
    assert made.get("bob").frames is not None


def test_a_target_is_an_agent_or_its_runner() -> None:
    made = members()
    made.join(hello("bob"), asyncio.Queue())
    assert made.target("bob") == made.target("runner-bob") == "bob"
    with pytest.raises(RelayNotFound, match="did you mean bob"):
        made.target("bobb")


def test_a_removed_agent_is_live_no_more() -> None:
    made = members()
    made.join(hello("bob"), asyncio.Queue())
    made.remove("bob")
    assert made.live() == {} and "bob" in made.all
    with pytest.raises(RelayNotFound):
        made.current("bob", "one")
