"""When a message may go in, and by which rung; the rungs themselves have tests of their own."""

from __future__ import annotations

import pytest

from relay_runner.errors import TerminalError
from relay_runner.protocol.messages import Timing
from relay_runner.providers.base import Held
from tests.unit.providers.claude.room import Room, message, room  # noqa: F401

pytestmark = pytest.mark.anyio


async def test_only_a_steered_message_goes_into_a_busy_program(room: Room) -> None:
    await room.idle()
    assert await room.process.obstacle(message()) is None
    room.status("busy")
    assert await room.process.obstacle(message()) == Held("busy", retry_s=0.5)
    assert await room.process.obstacle(message(timing=Timing.STEER)) is None
    room.status("waiting", "permission prompt")
    assert await room.process.obstacle(message(timing=Timing.STEER)) == Held("dialog open")


async def test_nothing_entered_where_the_turn_before_it_could_not_be_interrupted(room: Room) -> None:
    await room.idle()
    room.status("busy")
    room.box.deaf = TerminalError("tmux did not answer within 10 s")
    assert await room.process.submit(message(timing=Timing.INTERRUPT)) == Held("tmux did not answer within 10 s")
    assert room.box.text == ""
