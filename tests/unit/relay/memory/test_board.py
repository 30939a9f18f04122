"""The event log and the keys of a relay in memory."""

from __future__ import annotations

from relay_runner.protocol.access import Caller
from relay_runner.relay.memory.board import Board
from tests.contract.relays import Clock

CALLER = Caller("person:op", frozenset())


def test_every_event_is_numbered_and_wakes_who_waits() -> None:
    board = Board(Clock())
    with board.listening() as one, board.listening() as other:
        board.emit("task", id=1)
        assert one.is_set() and other.is_set()
    board.emit("task", id=2)
    assert [(event.seq, event.data) for event in board.log] == [(1, {"id": 1}), (2, {"id": 2})]


def test_a_key_is_remembered_for_a_day_and_per_sender() -> None:
    clock = Clock()
    board = Board(clock)
    board.remember(CALLER, "message", "k", 7)
    board.remember(CALLER, "message", None, 8)
    assert board.remembered(CALLER, "message", "k") == 7
    assert board.remembered(CALLER, "message", None) is None
    assert board.remembered(CALLER, "command", "k") is None
    assert board.remembered(Caller("person:eve", frozenset()), "message", "k") is None
    clock.now += 24 * 3600
    assert board.remembered(CALLER, "message", "k") is None
