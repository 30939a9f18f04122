"""Permissions between a scripted program and a relay in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import (
    ProviderRefused,
    ProviderUnsupported,
    RelayRefused,
    RelayUnavailable,
    TerminalError,
)
from relay_runner.protocol.frames import PermissionDecision
from relay_runner.protocol.permissions import (
    AT_THE_TERMINAL,
    Decision,
    NewDecision,
    NewPermission,
    Permission,
    PermissionQuery,
    PermissionState,
    Resolution,
)
from relay_runner.protocol.wire import decode
from relay_runner.providers.base import Answer, ProcessState
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner import permission_reports, permissions
from relay_runner.runner.identity import Identity
from relay_runner.runner.journal import Journal
from relay_runner.runner.options import RunnerOptions
from relay_runner.runner.permissions import Permissions
from relay_runner.runner.question import AWAY, Entry
from relay_runner.runner.work import Work
from tests.contract.relays import hello
from tests.scripted import ScriptedProcess
from tests.terminals import until

pytestmark = pytest.mark.anyio

APPROVE = NewDecision(decision=Decision.APPROVE)
DENY = NewDecision(decision=Decision.DENY, reason="no")


class Line(MemoryRelay):
    """A relay that cannot be reached while `down`."""

    down = False

    async def open_permission(self, new: NewPermission) -> Permission:
        self._reach()
        return await super().open_permission(new)

    async def permissions(self, query: PermissionQuery) -> list[Permission]:
        self._reach()
        return await super().permissions(query)

    async def update_permission(self, permission_id: str, update: Any) -> Permission:
        self._reach()
        return await super().update_permission(permission_id, update)

    def _reach(self) -> None:
        if self.down:
            raise RelayUnavailable("no relay answers")


class Office:
    """One agent's permission service, its program, and an operator elsewhere."""

    def __init__(self, root: Path, operator: MemoryRelay | None = None, **options: Any) -> None:
        self.root = root
        self.operator = operator or MemoryRelay()
        self.identity = Identity(RunnerOptions(agent_id="bob", provider="scripted", cwd=root), None)
        self.relay = Line.of_agent("bob", self.operator.hub)
        assert isinstance(self.relay, Line)
        self.line = self.relay
        self.work = Work()
        self.journal = Journal(root / "journal.db")
        self.options = {"deadline_s": 540.0, "headless": False, **options}
        self.bus = True
        self.process: ScriptedProcess | None = None

    @asynccontextmanager
    async def open(
        self, *, adopted: bool = False, process: ScriptedProcess | None = None
    ) -> AsyncIterator[Permissions]:
        """Run the service with a program until the end, without closing anything, as `kill -9` leaves it."""
        joined = asyncio.Event()
        joined.set()
        with self.journal:
            service = self.service = Permissions(
                self.relay, self.journal, self.identity, self.work, **self.options,
                joined=joined, process=lambda: self.process, publish=lambda: None,
            )  # fmt: skip
            self.process = process or ScriptedProcess()
            self.process.emit = self._emit
            async with self.relay.connect(hello("bob", self.identity.instance_id)) as bus, asyncio.TaskGroup() as group:
                running = [group.create_task(service.run()), group.create_task(self._listen(bus))]
                service.open(adopted=adopted)
                yield service
                for task in running:
                    task.cancel()

    def _emit(self, event: Any) -> None:
        if hasattr(event, "state"):
            self.work.provider(event.state)
        self.service.event(event)

    async def _listen(self, bus: Any) -> None:
        async for frame in bus:
            if isinstance(frame, PermissionDecision) and self.bus:
                self.service.frame(frame)

    async def until(self, id: str = "p1", **wanted: Any) -> Permission:
        """Wait until the relay has a permission with these values."""
        async with asyncio.timeout(10):
            with self.operator.hub.board.listening() as changed:
                while True:
                    changed.clear()
                    for found in await self.operator.permissions(PermissionQuery()):
                        if found.id == id and all(getattr(found, name) == value for name, value in wanted.items()):
                            return found
                    await changed.wait()

    async def answered(self, count: int = 1) -> list[tuple[str, Answer]]:
        """Wait until the program was given answers."""
        assert self.process is not None
        process = self.process
        await until(lambda: len(process.answers) >= count)
        return process.answers


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "RETRY_S", 0.01)
    monkeypatch.setattr(permission_reports, "RETRY_S", 0.01)
    monkeypatch.setattr(permission_reports, "RETRY_LIMIT_S", 0.02)


async def test_an_answer_from_elsewhere_goes_in_and_closes_it(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        process = office.process
        assert process is not None
        process.asks()
        found = await office.until(state=PermissionState.OPEN)
        assert (found.title, found.agent_id) == ("mkdir x", "bob")
        assert office.work.asks == ("asks for permission p1: mkdir x",)
        await office.operator.decide("p1", DENY)
        closed = await office.until(state=PermissionState.CLOSED)
        assert (closed.resolution, closed.decision, closed.decided_by) == (
            Resolution.APPLIED, Decision.DENY, "person:operator",
        )  # fmt: skip
        assert process.answers == [("p1", Answer(Decision.DENY, "no"))]
        assert office.work.asks == () and office.journal.facts("permission:") == {}


async def test_a_question_is_told_when_the_relay_is_back_and_the_program_never_waits(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        office.line.down = True
        assert office.process is not None
        office.process.asks()
        office.process.closes("p1", decision=Decision.APPROVE)
        office.process.asks("p2")
        assert not await service.flushed(0.05)
        office.line.down = False
        closed = await office.until(state=PermissionState.CLOSED)
        assert (closed.resolution, closed.decision) == (Resolution.TERMINAL, Decision.APPROVE)
        await office.until("p2", state=PermissionState.OPEN)
        assert await service.flushed(10)


async def test_an_answer_that_the_bus_lost_is_found_by_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission_reports, "POLL_S", 0.02)
    office = Office(tmp_path)
    office.bus = False
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.asks()
        await office.until(state=PermissionState.OPEN)
        await office.operator.decide("p1", APPROVE)
        await office.until(state=PermissionState.CLOSED, resolution=Resolution.APPLIED)


async def test_an_answer_waits_for_a_program_that_can_be_asked(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        assert office.process is not None
        office.process.asks()
        await office.until(state=PermissionState.OPEN)
        await office.operator.decide("p1", APPROVE)
        await asyncio.sleep(0)
        assert office.process.answers == []
        service.ready()
        await office.until(state=PermissionState.CLOSED, resolution=Resolution.APPLIED)


async def test_the_deadline_leaves_it_to_the_terminal(tmp_path: Path) -> None:
    office = Office(tmp_path, deadline_s=0.05)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.asks()
        left = await office.until(note=AT_THE_TERMINAL)
        assert (left.state, left.decisions) == (PermissionState.OPEN, ()) and office.process.left == ["p1"]
        with pytest.raises(RelayRefused, match="answer at the terminal"):
            await office.operator.decide("p1", APPROVE)
        office.process.closes("p1", decision=Decision.APPROVE)
        closed = await office.until(state=PermissionState.CLOSED)
        assert closed.resolution is Resolution.TERMINAL and office.process.answers == []


async def test_the_deadline_denies_where_nobody_is(tmp_path: Path) -> None:
    office = Office(tmp_path, deadline_s=0.05, headless=True)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.asks()
        closed = await office.until(state=PermissionState.CLOSED)
        assert (closed.resolution, closed.decision) == (Resolution.EXPIRED, Decision.DENY)
        ((_, answer),) = office.process.answers
        assert answer.reason == "nobody answered within 0.05 s"


async def test_what_is_about_to_go_in_is_journalled_first(tmp_path: Path) -> None:
    office = Office(tmp_path, deadline_s=0.05, headless=True)
    noted: list[Entry] = []

    class Looks(ScriptedProcess):
        async def answer(self, permission_id: str, answer: Answer) -> bool:
            noted.append(decode(office.journal.facts("permission:")[permission_id], Entry))
            return await super().answer(permission_id, answer)

    async with office.open(process=Looks()) as service:
        service.ready()
        assert office.process is not None
        office.process.asks()
        await office.until(state=PermissionState.CLOSED)
    (entry,) = noted
    assert entry.expired and entry.given is not None and entry.given.decision is Decision.DENY


async def test_what_cannot_be_denied_at_the_deadline_is_interrupted(tmp_path: Path) -> None:
    office = Office(tmp_path, deadline_s=0.05, headless=True)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.answer_error = ProviderUnsupported("only the terminal can")
        office.process.asks(decisions=())
        closed = await office.until(state=PermissionState.CLOSED)
        assert closed.resolution is Resolution.EXPIRED and office.process.interrupts == 1


async def test_an_answer_that_only_the_terminal_can_give_says_so(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        for id, error, note, state in (
            ("p1", ProviderUnsupported("the hook is gone"), AT_THE_TERMINAL, PermissionState.DECIDED),
            ("p2", ProviderRefused("it wants a colour"), "it wants a colour", PermissionState.OPEN),
        ):
            office.process.answer_error = error
            office.process.asks(id)
            await office.until(id, state=PermissionState.OPEN)
            await office.operator.decide(id, APPROVE)
            assert (await office.until(id, note=note)).state is state
        await office.operator.decide("p2", DENY)
        await until(lambda: office.process is not None and len(office.process.answers) == 3)
        assert office.process.interrupts == 0


async def test_a_terminal_that_fails_is_tried_again(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.asks()
        await office.until(state=PermissionState.OPEN)
        office.process.answer_error = TerminalError("tmux is busy")
        await office.operator.decide("p1", APPROVE)
        await office.answered(2)
        office.process.answer_error = None
        await office.until(state=PermissionState.CLOSED, resolution=Resolution.APPLIED)


@pytest.mark.parametrize("how", ["idle", "gone"])
async def test_a_turn_or_a_program_that_ends_takes_its_questions_along(tmp_path: Path, how: str) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.asks()
        await office.until(state=PermissionState.OPEN)
        if how == "idle":
            office.process.becomes(ProcessState.IDLE)
        else:
            service.gone()
        assert (await office.until(state=PermissionState.CLOSED)).resolution is Resolution.WITHDRAWN
        with pytest.raises(RelayRefused, match="asked no more"):
            await office.operator.decide("p1", APPROVE)


async def test_the_successor_of_a_killed_runner_puts_the_answer_in(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        process = office.process
        assert process is not None
        process.asks()
        await office.until(state=PermissionState.OPEN)
    await office.operator.decide("p1", APPROVE)
    later = Office(tmp_path, office.operator)
    async with later.open(adopted=True, process=process) as service:
        process.asks()
        service.ready()
        closed = await later.until(state=PermissionState.CLOSED)
        assert closed.resolution is Resolution.APPLIED and process.answers == [("p1", Answer(Decision.APPROVE))]


@pytest.mark.parametrize("adopted", [True, False])
async def test_the_successor_of_a_killed_runner_says_what_is_over(tmp_path: Path, adopted: bool) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.asks()
        await office.until(state=PermissionState.OPEN)
    later = Office(tmp_path, office.operator)
    async with later.open(adopted=adopted) as service:
        service.ready()
        closed = await later.until(state=PermissionState.CLOSED)
        assert (closed.resolution, closed.note) == (Resolution.WITHDRAWN, AWAY)


async def test_what_another_version_wrote_down_is_forgotten_and_closed(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.asks()
        await office.until(state=PermissionState.OPEN)
        office.journal.remember("permission:p1", '{"strange": true}')
    later = Office(tmp_path, office.operator)
    async with later.open(adopted=True) as service:
        service.ready()
        assert (await later.until(state=PermissionState.CLOSED)).note == AWAY


async def test_what_only_the_relay_remembers_is_closed_there(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.asks()
        await office.until(state=PermissionState.OPEN)
    for file in tmp_path.glob("journal.db*"):
        file.unlink()
    later = Office(tmp_path, office.operator)
    async with later.open(adopted=True) as service:
        service.ready()
        assert (await later.until(state=PermissionState.CLOSED)).note == AWAY


async def test_the_command_answers_as_the_relay_would(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.asks()
        await office.until(state=PermissionState.OPEN)
        with pytest.raises(ProviderRefused, match="an agent cannot"):
            await service.decide("p1", APPROVE, "agent:bob")
        with pytest.raises(RelayRefused, match="does not offer"):
            await service.decide("p1", NewDecision(decision=Decision.ABORT), "person:op")
        with pytest.raises(RelayRefused, match="there is no permission"):
            await service.decide("nope", APPROVE, "person:op")
        result = await service.decide("p1", DENY, "person:op")
        assert result == {"permissionId": "p1", "resolution": "applied", "decision": "deny"}
        closed = await office.until(state=PermissionState.CLOSED)
        assert (closed.resolution, closed.decision, closed.decided_by) == (
            Resolution.APPLIED, Decision.DENY, "person:op",
        )  # fmt: skip
        with pytest.raises(RelayRefused):
            await service.decide("p1", APPROVE, "person:op")


async def test_the_command_says_when_only_the_terminal_can_answer(tmp_path: Path) -> None:
    office = Office(tmp_path)
    async with office.open() as service:
        service.ready()
        assert office.process is not None
        office.process.answer_error = ProviderUnsupported("the hook is gone")
        office.process.asks()
        with pytest.raises(ProviderUnsupported, match="answer at the terminal"):
            await service.decide("p1", APPROVE, "person:op")
        with pytest.raises(ProviderRefused, match="already answered with approve by person:op"):
            await service.decide("p1", DENY, "person:eve")
