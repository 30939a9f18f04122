"""What holds messages: shown once it lasts, written down once it lasts long."""

from __future__ import annotations

import logging

import pytest

from relay_runner.protocol.agents import HeldMessage
from relay_runner.providers.base import ProcessState
from relay_runner.runner import obstacles as module
from relay_runner.runner.obstacles import LOGGED_S, MOST, SHOWN_S, Obstacles
from relay_runner.runner.work import Work
from tests.scripted import ScriptedProcess

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000.0


class Clock:
    """The time that the module is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOW
        monkeypatch.setattr(module, "time", self)

    def time(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_a_moment_is_no_news(clock: Clock) -> None:
    work, published = Work(), list[int]()
    obstacles = Obstacles(work, lambda: published.append(1))
    obstacles.met(1, "person typing")
    assert obstacles.next_due() == NOW + SHOWN_S and obstacles.reason == "person typing"
    clock.now += SHOWN_S - 1
    obstacles.over(1)
    assert (work.held, published, obstacles.next_due(), obstacles.reason) == ((), [], None, None)


async def test_what_lasts_is_shown_with_its_age_and_what_it_is_by_now(clock: Clock) -> None:
    work, published = Work(), list[int]()
    obstacles = Obstacles(work, lambda: published.append(1))
    obstacles.met(1, "person typing")
    clock.now += SHOWN_S
    obstacles.met(1, "dialog open")
    assert work.held == (HeldMessage(message_id=1, reason="dialog open", since=NOW),)
    assert work.status(clock.now).held == work.held
    obstacles.met(1, "dialog open")
    assert published == [1]
    obstacles.over(1)
    assert (work.held, published) == ((), [1, 1])


async def test_what_lasts_long_leaves_once_what_the_program_shows(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    obstacles, process = Obstacles(Work(), lambda: None), ScriptedProcess(lambda event: None, ProcessState.IDLE)
    obstacles.met(1, "dialog open")
    await obstacles.tend(process)
    clock.now += LOGGED_S
    obstacles.met(2, "dialog open")
    assert obstacles.next_due() == NOW + LOGGED_S
    with caplog.at_level(logging.WARNING):
        await obstacles.tend(process)
        await obstacles.tend(process)
    assert [record.getMessage() for record in caplog.records] == [
        "message 1 is held for 60 s: dialog open",
        "the program shows:\nthe last line",
    ]
    obstacles.clear()
    assert obstacles.next_due() is None


async def test_a_crowd_is_bounded(clock: Clock) -> None:
    work = Work()
    obstacles = Obstacles(work, lambda: None)
    for number in range(MOST * 2):
        obstacles.met(number, "person typing")
    clock.now += SHOWN_S
    await obstacles.tend(ScriptedProcess(lambda event: None, ProcessState.IDLE))
    assert len(work.held) == MOST
