"""A turn's end waits for what it cost, in order and not for long."""

from __future__ import annotations

from pathlib import Path

from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.usage import Usage
from relay_runner.providers.base import Event, ProcessState, Seen, StateChanged, TurnEnded
from relay_runner.providers.claude.closing import COST_S, TOKENS_S, Closing
from relay_runner.providers.claude.spending import Spending
from relay_runner.providers.claude.transcript import Turn

NOW = 1_800_000_000.0
ENDED = TurnEnded(Outcome.COMPLETED, "hook:Stop", ("n1",), "done")
IDLE = StateChanged(ProcessState.IDLE, "state-file")
ANSWER = {"type": "assistant", "message": {"id": "m1", "usage": {"input_tokens": 3, "output_tokens": 4}}}
OVER = {"type": "system", "subtype": "turn_duration"}


class Desk:
    def __init__(self) -> None:
        self.spending = Spending()
        self.told: list[Event] = []
        self.closing = Closing(self.told.append, self.spending, lambda: Path("x.jsonl"))

    def usage(self) -> Usage | None:
        (ended,) = [event for event in self.told if isinstance(event, TurnEnded)]
        return ended.usage


def test_the_end_waits_for_the_transcript_and_all_else_behind_it() -> None:
    desk = Desk()
    desk.closing.tell([Seen("n1", "hook"), ENDED], NOW)
    desk.closing.tell([IDLE], NOW)
    desk.closing.flush(NOW + TOKENS_S / 2)
    assert desk.told == [Seen("n1", "hook")] and desk.closing.waiting
    for line in (ANSWER, OVER):
        desk.spending.line(line)
    desk.closing.flush(NOW + TOKENS_S / 2)
    assert desk.usage() == Usage(input_tokens=3, cached_tokens=None, output_tokens=4)
    assert desk.told[-1] == IDLE and not desk.closing.waiting


def test_the_end_names_all_that_the_turn_carried() -> None:
    desk = Desk()
    turn = Turn(["n1", "n2"], by_hand=True)
    desk.closing = Closing(
        desk.told.append, desk.spending, lambda: Path("x.jsonl"), lambda nonces: turn if "n1" in nonces else None
    )
    desk.closing.tell([ENDED, TurnEnded(Outcome.COMPLETED, "transcript", ("n0",))], NOW)
    assert desk.told == []
    desk.closing.close()
    first, other = [event for event in desk.told if isinstance(event, TurnEnded)]
    assert (first.nonces, first.carried, first.by_hand) == (("n1",), ("n1", "n2"), True)
    assert (other.carried, other.by_hand) == ((), False)


def test_the_wait_is_bounded() -> None:
    desk = Desk()
    desk.spending.line(ANSWER)
    desk.closing.tell([ENDED], NOW)
    desk.closing.flush(NOW + TOKENS_S + 0.01)
    assert desk.usage() == Usage(input_tokens=3, cached_tokens=None, output_tokens=4)


def test_a_cost_is_waited_for_where_costs_are_told() -> None:
    desk = Desk()
    desk.spending.price({"cost": {"total_cost_usd": 1.0}}, NOW - 1)
    desk.spending.line(OVER)
    desk.closing.tell([ENDED], NOW)
    assert desk.told == []
    desk.spending.price({"cost": {"total_cost_usd": 1.5}}, NOW + 0.1)
    desk.closing.flush(NOW + 0.1)
    assert desk.usage() == Usage(cost_usd=0.5)


def test_a_cost_that_does_not_come_is_not_waited_for_long() -> None:
    desk = Desk()
    desk.spending.price({"cost": {"total_cost_usd": 1.0}}, NOW - 1)
    desk.spending.line(OVER)
    desk.closing.tell([ENDED], NOW)
    desk.closing.flush(NOW + COST_S + 0.01)
    assert desk.usage() is None and len(desk.told) == 1
    desk.spending.line(OVER)
    desk.closing.tell([IDLE, ENDED], NOW + 10)
    assert len(desk.told) == 3, "it is not waited for again until it comes"


def test_what_the_transcript_told_does_not_wait() -> None:
    desk = Desk()
    desk.closing.tell([TurnEnded(Outcome.INTERRUPTED, "transcript", ("n1",))], NOW)
    assert len(desk.told) == 1


def test_nothing_is_held_back_when_nobody_looks_any_more() -> None:
    desk = Desk()
    desk.closing.tell([ENDED, IDLE], NOW)
    desk.closing.close()
    assert desk.told == [ENDED, IDLE]
