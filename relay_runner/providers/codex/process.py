"""One running app-server under this runner, and the one thread in it that is the agent's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from relay_runner.errors import (
    ProviderError,
    ProviderExited,
    ProviderNotReady,
    ProviderRefused,
)
from relay_runner.protocol.messages import Timing
from relay_runner.protocol.permissions import Decision
from relay_runner.providers.base import (
    Answer,
    Emit,
    Evidence,
    Held,
    HookCall,
    HookReply,
    LaunchPlan,
    LaunchSpec,
    Operation,
    ProcessState,
    Submission,
    SubmitResult,
    Submitted,
    Uncertain,
)
from relay_runner.providers.codex import evidence, failures, family, launch, operations, prompt, session
from relay_runner.providers.codex.client import Client, Disconnected, Refused
from relay_runner.providers.codex.link import Link
from relay_runner.providers.codex.memo import Stage
from relay_runner.providers.codex.turns import OpenTurn
from relay_runner.providers.snapshot import snapshot
from relay_runner.terminal.base import ExitStatus, Screen, Terminal

READY_S = 60.0
INTERRUPT_S = 5.0
GIVEN_S = 1.0
NOT_LOADED = "thread not found"
NOT_STEERABLE = ("NotSteerable", "cannot steer")


class CodexProcess:
    """See `providers.base.Process`."""

    def __init__(self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, *, adopted: bool) -> None:
        self._spec = spec
        self._plan = plan
        self._terminal = terminal
        self._link = Link(
            spec, plan, emit, process=spec.control.provider_session_id, adopted=adopted, alive=terminal.alive
        )
        self._room = self._link.room

    @property
    def state(self) -> ProcessState:
        """The state of the last `StateChanged`."""
        return self._link.tracker.state

    @property
    def viewer(self) -> tuple[str, ...]:
        """The person's own Codex, as another client of the same app-server."""
        if (joined := self._link.session) is None:
            return ()
        return launch.viewer(self._plan, self._spec, joined.thread_id, joined.upgrades)

    async def watch(self) -> None:
        """Watch until cancelled."""
        try:
            await self._link.watch()
        finally:
            self._room.over()
            if not self._terminal.alive():
                self._link.become(Stage.STOPPED)

    # --- becoming ready -----------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Return when messages can go in; see `Process.ready`."""
        deadline = time.monotonic() + READY_S
        while self._link.client is None:
            if self._link.failure is not None:
                raise self._link.failure
            if not self._terminal.alive():
                status = await self._terminal.wait_exit()
                screen = await self._terminal.capture()
                why = f"{failures.Kind.SPAWN_FAILED}: {self.explain_exit(status, screen)}"
                raise ProviderExited(why, exit_code=status.code, tail=screen.tail())
            if time.monotonic() > deadline:
                shown = (await self._terminal.capture()).tail(3).replace("\n", " | ") or "nothing"
                raise ProviderNotReady(f"Codex did not become ready in {READY_S:.0f} s; it says: {shown}")
            await self._link.wait_change(0.1)

    # --- messages in --------------------------------------------------------------------------------------------------

    async def obstacle(self, submission: Submission) -> Held | None:
        """Say what holds a submission now."""
        return self._hold(submission.timing)

    async def submit(self, submission: Submission) -> SubmitResult:
        """Put one message in, at most once: the server's answer is the only sign that it took it."""
        if self.state is ProcessState.BUSY and submission.timing is Timing.INTERRUPT:
            try:
                await self.interrupt()
            except Disconnected:
                return Held("no connection", retry_s=0.2)
        if (held := self._hold(submission.timing)) is not None:
            return held
        async with self._room.submitting():
            held = self._hold(submission.timing)  # an operation may have begun a turn meanwhile
            client, joined, turn = self._link.client, self._link.session, self._link.tracker.turn
            if held is not None or client is None or joined is None:
                return held or Held("no connection", retry_s=0.2)
            asks = prompt.may_mention(submission, context=joined.context)
            try:
                skills = await session.skills(client, self._spec) if asks else frozenset()
            except Disconnected:
                return Held("no connection", retry_s=0.2)
            # In a thread: to look for mentions in a megabyte of them takes a moment.
            given = await asyncio.to_thread(prompt.given, submission, context=joined.context, skills=skills)
            return await self._put(client, turn, {"threadId": joined.thread_id, **given}, submission.nonce)

    async def _put(self, client: Client, turn: OpenTurn | None, params: dict[str, Any], nonce: str) -> SubmitResult:
        try:
            if turn is not None:
                await client.call("turn/steer", {**params, "expectedTurnId": turn.id})
                return Submitted("turn/steer")
            answer = await client.call("turn/start", {**params, **self._room.next_turn})
        except Refused as error:
            return self._refused(error, steered=turn is not None)
        except Disconnected as error:
            return Uncertain(str(error))
        self._room.next_turn.clear()
        return self._entered(answer, nonce)

    def _entered(self, answer: Mapping[str, Any], nonce: str) -> SubmitResult:
        """Take in the answer to turn/start: the id of a turn that a person began meanwhile means it was steered."""
        if not isinstance(begun := answer.get("turn"), dict) or "id" not in begun:
            return Uncertain(f"{failures.Kind.RESPONSE_INVALID}: Codex answered turn/start without a turn")
        turn_id, turn = str(begun["id"]), self._link.tracker.turn
        if turn is not None and turn.id == turn_id and turn.prompts > turn.nonces.count(nonce):
            return Submitted("turn/start, steered")
        self._link.tell(self._link.tracker.started(turn_id))
        return Submitted("turn/start")

    def _refused(self, error: Refused, *, steered: bool) -> Held:
        """Nothing entered: say when to try again, or raise where trying again as it is makes no sense."""
        text = str(error)
        if any(word in text for word in NOT_STEERABLE):
            return Held("compacting or reviewing")
        if steered:
            return Held("the turn is over", retry_s=0.2)
        if NOT_LOADED in text:
            self._link.tracker.status.unloaded = True
            self._link.changed.set()
            return Held("its session is being loaded", retry_s=0.2)
        raise ProviderRefused(f"Codex did not take it: {text}") from error

    def _hold(self, timing: Timing) -> Held | None:
        """Return why nothing can go in now."""
        match self.state:
            case _ if self._link.client is None:
                return Held("no connection", retry_s=0.2)
            case _ if self._room.doing is not None:
                return Held(self._room.doing, retry_s=0.5)
            case ProcessState.IDLE:
                return None
            case ProcessState.BUSY if timing is Timing.STEER and self._link.tracker.turn is not None:
                return None
            case ProcessState.BUSY if timing is Timing.STEER and self._link.tracker.only_agents:
                return None  # nothing to steer: its own thread takes a turn
            case ProcessState.WAITING:
                return Held("dialog open")
        if self._link.goal.wait_for():
            self._link.changed.set()
            return Held("busy with its goal, which is put aside", retry_s=0.2)
        return Held(str(self.state), retry_s=0.5)

    # --- evidence -----------------------------------------------------------------------------------------------------

    async def find(self, nonce: str) -> Evidence:
        """Ask the app-server's turns what became of a nonce, or the file that a dead one left."""
        return await evidence.find(nonce, self._link, self._spec, self._terminal)

    async def hook(self, call: HookCall) -> HookReply:
        """Refuse: nothing in Codex calls hooks of ours."""
        return HookReply(status=404)

    # --- orders -------------------------------------------------------------------------------------------------------

    async def interrupt(self) -> None:
        """Stop the running turn, its sub-agents and the commands they leave; raise `ProviderRefused` if one goes on."""
        client, tracker = self._link.client, self._link.tracker
        turn, agents = tracker.turn, tracker.agents.running
        if client is None or (turn is None and not agents):
            return
        await self._given(turn)
        deadline = time.monotonic() + INTERRUPT_S
        while (running := tracker.turn is turn and turn is not None) or tracker.agents.running:
            if time.monotonic() > deadline:
                raise ProviderRefused("Codex did not stop its turn", hint="press Escape in its terminal")
            stopping = {self._link.thread: turn.id} if running and turn is not None else {}
            stopping |= {one.id: await family.turn(client, one) for one in tracker.agents.running}
            for thread_id, turn_id in stopping.items():
                # Refused where the turn ended by itself, or was promised a moment ago and has not begun.
                with contextlib.suppress(Refused):
                    await client.call("turn/interrupt", {"threadId": thread_id, "turnId": turn_id})
            await self._link.wait_change(0.1)
        for thread_id in (self._link.thread, *(one.id for one in agents)):
            with contextlib.suppress(Refused):  # a version without it
                await client.call("thread/backgroundTerminals/clean", {"threadId": thread_id})

    async def _given(self, turn: OpenTurn | None) -> None:
        """Wait a moment for the message of a turn of ours: interrupted before, the message would be nowhere."""
        deadline = time.monotonic() + GIVEN_S
        while turn is not None and turn is self._link.tracker.turn and turn.ours and not turn.prompts:
            if time.monotonic() > deadline:
                return
            await self._link.wait_change(0.1)

    async def answer(self, permission_id: str, answer: Answer) -> bool:
        """Put an answer in; see `Process.answer`. To abort what a sub-agent asks ends the turn that it works for."""
        turn = self._link.tracker.turn
        taken = await self._link.approvals.answer(permission_id, answer)
        if taken and answer.decision is Decision.ABORT and self._link.tracker.turn is turn:
            await self.interrupt()
        return taken

    async def leave(self, permission_id: str) -> None:
        """Do nothing: its own dialog asks anyway."""

    @property
    def operations(self) -> Mapping[str, Operation]:
        """What this version can do; none before it is ready."""
        return {} if self._link.session is None else operations.available(self._link.session.methods)

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do one of Codex's own operations; see `Process.operate`."""
        before = self._link.thread_id
        result = await operations.run(self._room, action, args)
        if self._link.thread_id != before:
            await self._terminal.show(self.viewer)
        return result

    async def snapshot(self) -> str:
        """Return what the terminal shows."""
        return await snapshot(self._terminal)

    async def quit(self) -> None:
        """Ask the app-server to end: it would first see a running turn to its end, so that is interrupted."""
        self._link.become(Stage.STOPPING)
        with contextlib.suppress(ProviderError):  # it is ended all the same
            await self.interrupt()
        if self._terminal.alive():
            os.kill(self._terminal.process.pid, signal.SIGTERM)

    def explain_exit(self, status: ExitStatus, screen: Screen | None) -> str:
        """Return one line for a person: what the app-server said last."""
        words = screen.tail(1).strip()[:300] if screen is not None and status.code != 0 else ""
        return f"Codex ended ({status}){': ' + words if words else ''}"
