"""Permissions between the program, the relay, and the people who answer from elsewhere; see `questions` for the law.

The program never waits for the relay: a question is noted and journalled at once, and told when the relay can be told.
Answers come over the bus, and every 20 s by asking the relay, for a bus that is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from relay_runner.errors import (
    ProtocolError,
    ProviderError,
    ProviderRefused,
    ProviderUnsupported,
    TerminalError,
)
from relay_runner.protocol import decisions
from relay_runner.protocol.frames import PermissionDecision
from relay_runner.protocol.permissions import (
    AT_THE_TERMINAL,
    NewDecision,
)
from relay_runner.protocol.wire import decode, encode
from relay_runner.providers.base import (
    Event,
    PermissionAsked,
    PermissionClosed,
    Process,
    ProcessState,
    StateChanged,
)
from relay_runner.relay.base import Relay
from relay_runner.runner.bell import Bell
from relay_runner.runner.group import task_group
from relay_runner.runner.identity import Identity
from relay_runner.runner.journal import Journal
from relay_runner.runner.permission_reports import PermissionReports
from relay_runner.runner.question import Entry, Given, Leave, Put, Step
from relay_runner.runner.questions import Questions
from relay_runner.runner.work import Work

log = logging.getLogger(__name__)

PUT_S = 30.0
"""How long the program may take to take an answer."""
RETRY_S = 1.0
FACT = "permission:"


class Permissions:
    """Ask on the relay what the program asks, and put the answers in."""

    def __init__(
        self,
        relay: Relay,
        journal: Journal,
        identity: Identity,
        work: Work,
        *,
        deadline_s: float,
        headless: bool,
        joined: asyncio.Event,
        process: Callable[[], Process | None],
        publish: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._work = work
        self._process = process
        self._publish = publish
        self._table = Questions(identity.agent_id, identity.instance_id, deadline_s=deadline_s, headless=headless)
        self._saved: dict[str, Entry] = {}
        self._watched: dict[str, Entry] = {}
        """What a command waits for, as it was last."""
        self._loaded = False
        self._bell = Bell()
        self._ready = asyncio.Event()
        self._reports = PermissionReports(
            relay,
            self._table,
            identity,
            self._bell,
            joined=joined,
            ready=self._ready,
            on_answer=self.frame,
            on_change=self._note,
        )

    # --- what happens -------------------------------------------------------------------------------------------------

    def open(self, *, adopted: bool) -> None:
        """A program is there: one that lives on may still ask what it asked an earlier runner, a new one does not."""
        if not self._loaded:
            self._loaded = True
            self._load()
        if not adopted:
            self._table.ended()
        self._note()

    def _load(self) -> None:
        """Take what an earlier runner knew; what another version wrote is forgotten, and the relay's side closed."""
        for id, text in self._journal.facts(FACT).items():
            try:
                self._saved[id] = decode(text, Entry)
            except ProtocolError as error:
                log.warning("what is known of permission %s cannot be read: %s", id, error)
                self._journal.remember(FACT + id, None)
        self._table.load(self._saved.values())

    def ready(self) -> None:
        """The program can be asked: what it does not ask any more is over."""
        self._ready.set()
        process = self._process()
        if process is not None and process.state is not ProcessState.WAITING:
            self._table.settled()
        self._note()

    def gone(self) -> None:
        """The program ended, and its questions with it."""
        self._ready.clear()
        self._table.ended()
        self._note()

    def event(self, event: Event) -> None:
        """Take what the program tells."""
        match event:
            case PermissionAsked():
                log.info("permission %s is asked: %s", event.id, event.kind)
                self._table.ask(event, time.time(), self._work.session_id)
            case PermissionClosed():
                self._table.closed(event)
            case StateChanged(ProcessState.IDLE):
                self._table.ended()
            case StateChanged(ProcessState.BUSY) if self._ready.is_set():
                self._table.settled()
            case _:
                return
        self._note()

    def frame(self, frame: PermissionDecision) -> None:
        """Take an answer from the bus; it may come twice."""
        given = Given(decision=frame.decision, reason=frame.reason, answers=frame.answers, by=frame.by)
        if self._table.answer(frame.permission_id, given):
            log.info("permission %s: %s by %s", frame.permission_id, frame.decision, frame.by)
            self._note()

    async def decide(self, permission_id: str, decision: NewDecision, by: str) -> Mapping[str, Any]:
        """Carry out the command `agent.permissionDecision`; return what became of it when the answer is in."""
        entry = self._table.get(permission_id)
        if entry is None or entry.over:
            raise decisions.unknown_permission(permission_id, [entry.id for entry in self._table.all()])
        if by.startswith("agent:"):
            raise ProviderRefused("an agent cannot answer permissions")
        if entry.given is not None:
            raise ProviderRefused(f"already answered with {entry.given.decision} by {entry.given.by}")
        permission = decisions.open_permission(entry.new, None, time.time())
        decided = decisions.decide(permission, decision, by, time.time())
        given = Given(decision=decision.decision, reason=decided.reason, answers=decided.answers, by=by)
        self._table.answer(permission_id, given)
        self._note()
        return await self._outcome(permission_id)

    async def _outcome(self, permission_id: str) -> Mapping[str, Any]:
        """Wait until an answer is in, or cannot be put in."""
        self._watched[permission_id] = self._saved[permission_id]
        try:
            await self._bell.until(lambda: _settled(self._watched[permission_id]))
        finally:
            found = self._watched.pop(permission_id)
        if found.stuck and not found.over:
            raise ProviderUnsupported(found.note or AT_THE_TERMINAL)
        result = {"permissionId": permission_id}
        if found.over:
            result |= {"resolution": str(found.resolution), "decision": str(found.decision)}
        return result

    # --- services -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Put answers in, keep the deadlines, tell the relay, and ask it what the bus did not bring; for ever."""
        async with task_group() as group:
            group.create_task(self._act(), name="permissions-act")
            group.create_task(self._reports.run(), name="permissions-reports")

    async def flushed(self, seconds: float) -> bool:
        """Wait until the relay knows everything; False when it did not in time."""
        return await self._reports.flushed(seconds)

    async def _act(self) -> None:
        while True:
            process, step = await self._next()
            self._note()  # what is about to go in is journalled first
            if isinstance(step, Leave):
                await self._leave(process, step)
            else:
                await self._put(process, step)
            self._note()

    async def _next(self) -> tuple[Process, Step]:
        """Wait for a program that can be asked, and for something to do with it."""
        with self._bell.listening() as rung:
            while True:
                rung.clear()
                process, due_at = self._process(), None
                if process is not None and self._ready.is_set():
                    if (step := self._table.next_step(time.time())) is not None:
                        return process, step
                    due_at = self._table.due_at()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if due_at is None else max(0.0, due_at - time.time())):
                        await rung.wait()

    async def _leave(self, process: Process, step: Leave) -> None:
        log.info("nobody answered permission %s in time: it is left to the terminal", step.id)
        try:
            await process.leave(step.id)
        except (ProviderError, TerminalError) as error:
            log.warning("permission %s: %s", step.id, error)
        self._table.leave(step.id)

    async def _put(self, process: Process, step: Put) -> None:
        try:
            async with asyncio.timeout(PUT_S):
                taken = await process.answer(step.id, step.given.answer)
        except (ProviderUnsupported, ProviderRefused, TimeoutError) as error:
            why = str(error) or f"the program did not take the answer within {PUT_S:g} s"
            log.warning("permission %s cannot be answered from here: %s", step.id, why)
            if isinstance(error, ProviderUnsupported):
                self._table.kept_out(AT_THE_TERMINAL)
            else:
                self._table.refused(why)
            await self._insist(process, step)
        except (ProviderError, TerminalError) as error:
            log.warning("permission %s: %s", step.id, error)
            self._table.again()
            await asyncio.sleep(RETRY_S)
        else:
            log.info(
                "permission %s: %s is in" if taken else "permission %s was over before %s", step.id, step.given.decision
            )
            self._table.took() if taken else self._table.missed()

    async def _insist(self, process: Process, step: Put) -> None:
        """Where nobody is at the terminal, what cannot be denied at its deadline is interrupted: never a hang."""
        entry = self._table.get(step.id)
        if entry is None or entry.over or not entry.expired:
            return
        try:
            await process.interrupt()
        except (ProviderError, TerminalError) as error:
            log.error(
                "permission %s stays open: nobody answered, and the turn cannot be interrupted: %s", step.id, error
            )

    # --- the journal and the status -----------------------------------------------------------------------------------

    def _note(self) -> None:
        """Write down what changed, show it, and wake who waits for it."""
        now = {entry.id: entry for entry in self._table.all()}
        for id in self._saved.keys() - now.keys():
            self._journal.remember(FACT + id, None)
        for id, entry in now.items():
            if self._saved.get(id) != entry:
                self._journal.remember(FACT + id, encode(entry).decode())
        self._saved = now
        self._watched.update({id: entry for id, entry in now.items() if id in self._watched})
        if self._work.asks != (asks := self._table.waiting()):
            self._work.asks = asks
            self._publish()
        self._bell.ring()


def _settled(entry: Entry) -> bool:
    """Say whether it is known what became of an answer."""
    return entry.over or entry.put or entry.stuck
