"""A provider process that does what the test says: the provider side of the runner's contract, without a program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from relay_runner.providers.base import (
    NOT_FOUND,
    Event,
    Evidence,
    Held,
    HookCall,
    HookReply,
    ProcessState,
    StateChanged,
    Submission,
    SubmitResult,
    Submitted,
)
from relay_runner.terminal.base import ExitStatus, Screen

Script = Callable[["ScriptedProcess", Submission], SubmitResult]


def takes_it(process: ScriptedProcess, submission: Submission) -> SubmitResult:
    """Take the message and say nothing more."""
    return Submitted("script")


class ScriptedProcess:
    """Answer `submit` by a script, `find` from a table, and emit what the test emits."""

    def __init__(self, emit: Callable[[Event], None] = lambda event: None, script: Script = takes_it) -> None:
        self.emit = emit
        self.script = script
        self.submissions: list[Submission] = []
        self.submitted = asyncio.Condition()
        self.records: dict[str, Evidence] = {}
        self.hooks: list[HookCall] = []
        self.answer_hook: Callable[[HookCall], Any] | None = None
        self.interrupts = 0
        self.viewer: tuple[str, ...] = ()
        self._state = ProcessState.IDLE

    @property
    def state(self) -> ProcessState:
        return self._state

    def becomes(self, state: ProcessState) -> None:
        self._state = state
        self.emit(StateChanged(state, "script"))

    async def ready(self) -> None:
        return

    async def obstacle(self, submission: Submission) -> Held | None:
        return None

    async def submit(self, submission: Submission) -> SubmitResult:
        async with self.submitted:
            self.submissions.append(submission)
            self.submitted.notify_all()
        return self.script(self, submission)

    async def until(self, count: int) -> list[Submission]:
        """Wait until `count` messages were put in."""
        async with asyncio.timeout(10), self.submitted:
            await self.submitted.wait_for(lambda: len(self.submissions) >= count)
        return self.submissions

    async def find(self, nonce: str) -> Evidence:
        return self.records.get(nonce, NOT_FOUND)

    async def hook(self, call: HookCall) -> HookReply:
        self.hooks.append(call)
        if self.answer_hook is None:
            return HookReply()
        reply = await self.answer_hook(call)
        assert isinstance(reply, HookReply)
        return reply

    async def interrupt(self) -> None:
        self.interrupts += 1
        self.becomes(ProcessState.IDLE)

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}

    async def quit(self) -> None:
        return

    def explain_exit(self, status: ExitStatus, screen: Screen | None) -> str:
        return str(status)
