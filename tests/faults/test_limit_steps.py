"""A runner that dies before or after each single write of its journal, on the way through a limit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.protocol.messages import Delivery, Outcome, State
from relay_runner.providers.base import (
    Evidence,
    Limit,
    Submission,
    SubmitResult,
    Submitted,
    TurnEnded,
    TurnState,
)
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.journal import Journal
from tests.scripted import ScriptedProcess
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio

BODY = "the body that goes in once"
HOLD_S = 0.02
LIMIT = Limit("429")


class Killed(Exception):
    """The runner is dead: nothing more is written, and nothing more is done."""


class MortalJournal(Journal):
    """A journal whose runner dies at its n-th write, before or after that is on the disk."""

    def __init__(self, path: Path, writes: int, *, after: bool) -> None:
        super().__init__(path)
        self.left = writes
        self.after = after
        self.dead = False

    @contextlib.contextmanager
    def _dying(self) -> Iterator[None]:
        self.left -= 1
        if self.dead or (self.left == 0 and not self.after):
            self.dead = True
            raise Killed
        yield
        if self.left == 0:
            self.dead = True
            raise Killed

    def _run(self, statement: str, *values: object) -> None:
        if not statement.startswith(("INSERT", "UPDATE", "DELETE")):
            return super()._run(statement, *values)
        with self._dying():
            return super()._run(statement, *values)

    def _transaction(self):  # type: ignore[no-untyped-def]
        return self._mortal()

    @contextlib.contextmanager
    def _mortal(self):  # type: ignore[no-untyped-def]
        with self._dying(), super()._transaction() as db:
            yield db


class Program:
    """What goes on living when its runner dies: the first turns meet a limit, the others work."""

    def __init__(self, limits: int) -> None:
        self.limits = limits
        self.entered: list[Submission] = []
        self.records: dict[str, Evidence] = {}

    def __call__(self, process: ScriptedProcess, submission: Submission) -> SubmitResult:
        self.entered.append(submission)
        limited = len(self.entered) <= self.limits
        outcome, text, limit = (Outcome.FAILED, None, LIMIT) if limited else (Outcome.COMPLETED, "worked", None)
        self.records[submission.nonce] = Evidence(True, "records", TurnState.ENDED, outcome, text, "429", limit)
        process.emit(TurnEnded(outcome, "script", (submission.nonce,), text, "429", limit))
        return Submitted("script")


async def _dies(path: Path, operator: MemoryRelay, program: Program, write: int, *, after: bool) -> bool:
    """Send a message and run until the journal kills the runner, or the message is done; say whether it died."""
    with MortalJournal(path, write, after=after) as journal:
        desk = Desk(journal, operator, script=program, least_hold_s=HOLD_S)
        desk.process.records = program.records
        with contextlib.suppress(ExceptionGroup):
            async with desk.running():
                await desk.reaches(await desk.send(BODY), State.DONE)
        return journal.dead


async def _next_life(path: Path, operator: MemoryRelay, program: Program, process_id: str) -> Delivery:
    with Journal(path) as journal:
        desk = Desk(journal, operator, script=program, least_hold_s=HOLD_S, instance_id="i2", evidence_s=0.05)
        desk.process.records = program.records
        async with desk.running(process_id), asyncio.timeout(20):
            async for record in operator.watch(1):
                if record.deliveries[0].state in (State.DONE, State.UNKNOWN):
                    return record.deliveries[0]
    raise AssertionError("the relay stopped telling")


@pytest.mark.parametrize("process_id", ["p1", "p2"], ids=["the program lives", "the program died too"])
@pytest.mark.parametrize("after", [False, True], ids=["before a write", "after a write"])
@pytest.mark.parametrize("limits", [1, 2], ids=["one limit", "two limits in a row"])
async def test_whenever_the_runner_dies_the_body_and_the_continuation_go_in_once(
    tmp_path: Path, limits: int, process_id: str, after: bool
) -> None:
    died = True
    write = 0
    while died:
        write += 1
        path = tmp_path / f"journal{write}.db"
        operator, program = MemoryRelay(), Program(limits)
        died = await _dies(path, operator, program, write, after=after)
        delivery = await _next_life(path, operator, program, process_id)
        where = f"killed at write {write}"
        bodies = [one for one in program.entered if BODY in one.text]
        continued = [one for one in program.entered if BODY not in one.text]
        assert len(bodies) <= 1 and len(continued) <= limits, where
        assert len({one.nonce for one in program.entered}) == len(program.entered), where
        if delivery.state is State.DONE:
            assert (delivery.outcome, delivery.result) == (Outcome.COMPLETED, "worked"), where
            assert (len(bodies), len(continued)) == (1, limits), where
        else:
            # Nobody can know whether it is still on its way into a program that lives; one that died left its records.
            assert process_id == "p1" and len(program.entered) <= limits, where
    assert write > 10, "it died at every step of the way"
