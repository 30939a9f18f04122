"""Whatever a provider does with what is put in: one message, one turn; in order per sender; each taken at most once.

A whole inbox over a relay in memory, and a provider that holds, refuses, loses and interrupts as hypothesis says.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay_runner.errors import ProviderRefused
from relay_runner.protocol.messages import TERMINAL, MessageQuery, NewMessage, Outcome, State, Timing
from relay_runner.providers.base import (
    Held,
    ProcessState,
    Seen,
    StateChanged,
    Submission,
    SubmitResult,
    Submitted,
    TurnEnded,
    Uncertain,
)
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner import backoff, flights
from relay_runner.runner.journal import Journal
from tests.scripted import ScriptedProcess
from tests.unit.runner.desk import Desk

SENDERS = ("ann", "eve", "joe")
TURN_S = 0.002


@dataclass
class Letter:
    """One message, and what becomes of it at each try."""

    sender: str
    timing: Timing
    reply_required: bool
    before: list[str]
    """What happens before it is taken: `held` or `refused`."""
    end: str
    """The turn's outcome; `lost`: nobody ever knows."""


LETTERS = st.lists(
    st.builds(
        Letter,
        sender=st.sampled_from(SENDERS),
        timing=st.sampled_from([Timing.QUEUE, Timing.QUEUE, Timing.QUEUE, *Timing]),
        reply_required=st.booleans(),
        before=st.lists(st.sampled_from(["held", "refused"]), max_size=2),
        end=st.sampled_from([*[outcome.value for outcome in Outcome], "lost"]),
    ),
    min_size=1,
    max_size=8,
)


@dataclass
class Program:
    """A provider with one turn at a time; it writes down what it took, and when."""

    letters: dict[int, Letter] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    taken: list[int] = field(default_factory=list)
    reminded: list[int] = field(default_factory=list)
    turn: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def script(self, process: ScriptedProcess, submission: Submission) -> SubmitResult:
        id, letter = submission.message.id, self.letters[submission.message.id]
        if "still wants a reply" in submission.text:
            self.reminded.append(id)
            return self._take(process, submission, Outcome.COMPLETED)
        busy = process.state is ProcessState.BUSY
        if busy and letter.timing is not Timing.STEER:
            self.wrong.append(f"{id} ({letter.timing}) went into a running turn")
        number = self.tries[id]
        self.tries[id] += 1
        if number < len(letter.before):
            if letter.before[number] == "refused":
                raise ProviderRefused("not taken")
            return Held("person typing", 0.001)
        self.taken.append(id)
        if letter.end == "lost":
            return Uncertain("no trace")
        if busy:
            self.turn.append(submission.nonce)
            process.emit(Seen(submission.nonce, "script"))
            return Submitted("script")
        return self._take(process, submission, Outcome(letter.end))

    def _take(self, process: ScriptedProcess, submission: Submission, outcome: Outcome) -> SubmitResult:
        self.turn = [submission.nonce]
        process._state = ProcessState.BUSY
        process.emit(StateChanged(ProcessState.BUSY, "script"))
        process.emit(Seen(submission.nonce, "script"))
        asyncio.get_running_loop().call_later(TURN_S, self.end, process, submission.nonce, outcome)
        return Submitted("script")

    def end(self, process: ScriptedProcess, nonce: str, outcome: Outcome) -> None:
        """End the turn that began with this message, if it still goes on."""
        if self.turn[:1] == [nonce]:
            carried, self.turn = tuple(self.turn), []
            process._state = ProcessState.IDLE
            process.emit(TurnEnded(outcome, "script", carried, "text"))
            process.emit(StateChanged(ProcessState.IDLE, "script"))

    async def interrupt(self, process: ScriptedProcess) -> None:
        for nonce in self.turn[:1]:
            self.end(process, nonce, Outcome.INTERRUPTED)


async def _all_settle(desk: Desk, count: int) -> list[State]:
    """Wait until every message settled; return how."""
    async with asyncio.timeout(30):
        while True:
            records = await desk.operator.messages(MessageQuery(recipient="agent:bob", oldest_first=True, limit=100))
            states = [record.deliveries[0].state for record in records]
            if len(states) == count and all(state in TERMINAL for state in states):
                return states
            await asyncio.sleep(0.002)


async def _play(letters: list[Letter], folder: Path) -> Program:
    operator, program = MemoryRelay(), Program()
    with Journal(folder / "journal.db") as journal:
        desk = Desk(journal, operator, script=program.script, evidence_s=0.02)
        desk.process.interrupt = lambda: program.interrupt(desk.process)  # type: ignore[method-assign]
        async with desk.running():
            for letter in letters:
                new = NewMessage(to="bob", body="x", timing=letter.timing, reply_required=letter.reply_required)
                # The letter must be known before the inbox hears of it, and the relay numbers from 1.
                program.letters[len(program.letters) + 1] = letter
                await MemoryRelay.of_agent(letter.sender, operator.hub).send(new)
            states = await _all_settle(desk, len(letters))
    for (id, letter), state in zip(program.letters.items(), states, strict=True):
        expected = State.UNKNOWN if letter.end == "lost" else State.DONE
        assert state is expected, (id, letter, state)
    return program


@given(LETTERS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_message_is_taken_once_in_order_and_in_a_turn_of_its_own(letters: list[Letter]) -> None:
    """Promise: delivery."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(backoff, "of_attempt", lambda attempt: 0.001)
        patch.setattr(flights, "SETTLE_S", 0.005)
        program = asyncio.run(_play(letters, Path(folder)))
    assert program.wrong == []
    assert Counter(program.taken) == dict.fromkeys(range(1, len(letters) + 1), 1)
    for sender in SENDERS:
        queued = [id for id in program.taken if program.letters[id].sender == sender]
        queued = [id for id in queued if program.letters[id].timing is Timing.QUEUE]
        assert queued == sorted(queued)
    wanted = {id for id, letter in program.letters.items() if letter.reply_required}
    assert set(program.reminded) <= wanted and len(program.reminded) == len(set(program.reminded))
    alone = [id for id in wanted if program.letters[id].end == "completed" and not _disturbed(program)]
    assert set(alone) <= set(program.reminded)


def _disturbed(program: Program) -> bool:
    """Say whether a turn may have ended otherwise than its own letter says."""
    return any(letter.timing is not Timing.QUEUE for letter in program.letters.values())
