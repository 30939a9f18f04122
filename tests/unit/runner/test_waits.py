"""What takes long is told to those who wait behind it."""

from __future__ import annotations

import pytest

from relay_runner.protocol.agents import WorkKind
from relay_runner.providers.base import ProcessState
from relay_runner.runner.waits import LONG_S, Waits
from relay_runner.runner.work import Work
from tests.scripted import ScriptedProcess


class Desk:
    """A clock, a program and an agent's status."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.work, self.process = Work(), ScriptedProcess()
        self.waits = Waits(self.work, clock=lambda: self.now)

    def becomes(self, state: ProcessState) -> None:
        self.process.becomes(state)
        self.work.provider(state, now=self.now)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_long_turn_is_told_with_what_it_is_and_not_told_anew_with_each_change(desk: Desk) -> None:
    desk.becomes(ProcessState.BUSY)
    desk.work.start(WorkKind.MESSAGE, "40", now=desk.now, source="hook", label="40 from agent:ann")
    assert desk.waits.busy(desk.process) is None and desk.waits.next_due() == desk.now + LONG_S
    desk.now += LONG_S
    told = desk.waits.busy(desk.process)
    assert told == "the agent is busy since 13:46:40 UTC: message: 40 from agent:ann" and desk.waits.next_due() is None
    desk.work.start(WorkKind.SUBAGENT, "s", now=desk.now, source="hook")
    assert desk.waits.busy(desk.process) == told
    desk.becomes(ProcessState.IDLE)
    assert desk.waits.busy(desk.process) is None and desk.waits.next_due() is None


def test_a_program_that_works_without_a_turn_is_told_as_that(desk: Desk) -> None:
    desk.becomes(ProcessState.BUSY)
    assert desk.waits.busy(desk.process) is None
    desk.now += 2 * LONG_S
    told = desk.waits.busy(desk.process)
    assert told is not None and told.endswith("the program is busy with work of its own, perhaps a hook")


def test_nothing_is_busy_where_nothing_runs(desk: Desk) -> None:
    assert desk.waits.busy(None) is None
