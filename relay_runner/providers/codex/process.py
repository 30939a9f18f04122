"""One running app-server under this runner, and the one thread in it that is the agent's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from typing import Any

from relay_runner.errors import (
    ProviderError,
    ProviderExited,
    ProviderNotReady,
    ProviderRefused,
    ProviderUnsupported,
)
from relay_runner.protocol.messages import Timing
from relay_runner.providers.base import (
    Answer,
    Degraded,
    Emit,
    Event,
    Evidence,
    Held,
    HookCall,
    HookReply,
    LaunchPlan,
    LaunchSpec,
    Learnt,
    ProcessState,
    SessionStarted,
    Submission,
    SubmitResult,
    Submitted,
    TurnEnded,
    TurnState,
    Uncertain,
)
from relay_runner.providers.codex import history, launch, operations, prompt, rollout, session
from relay_runner.providers.codex.client import Client, Disconnected, Refused, opened
from relay_runner.providers.codex.home import CodexHome
from relay_runner.providers.codex.memo import Memo
from relay_runner.providers.codex.turns import OpenTurn, Tracker
from relay_runner.terminal.base import ExitStatus, Screen, Terminal

READY_S = 60.0
RECONNECT_S = 0.05
RETRY_S = 1.0
TICK_S = 0.5
INTERRUPT_S = 5.0
FIND_S = 10.0
PAGE = 20
PAGES = 25
"""How many turns back a message is looked for: 500."""
NOT_LOADED = "thread not found"
NOT_STEERABLE = ("NotSteerable", "cannot steer")


class CodexProcess:
    """See `providers.base.Process`."""

    def __init__(self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, *, adopted: bool) -> None:
        self._spec = spec
        self._plan = plan
        self._terminal = terminal
        self._emit = emit
        self._adopted = adopted
        self._tracker = Tracker()
        self._client: Client | None = None
        self._session: session.Session | None = None
        self._thread_id = plan.session_id
        self._failure: ProviderError | None = None
        self._changed = asyncio.Event()
        self._room = operations.Room(
            spec,
            Memo(spec.agent_dir),
            connected=lambda: None if self._client is None or self._session is None else (self._client, self._session),
            state=lambda: self.state,
            enter=self._enter,
        )

    @property
    def state(self) -> ProcessState:
        """The state of the last `StateChanged`."""
        return self._tracker.state

    @property
    def viewer(self) -> tuple[str, ...]:
        """The person's own Codex, as another client of the same app-server."""
        if self._session is None:
            return ()
        return launch.viewer(self._plan, self._spec, self._session.thread_id, self._session.upgrades)

    # --- the connection -----------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Stay connected, and to the thread, until cancelled; a connection that broke is made again."""
        while self._failure is None:
            try:
                async with opened(launch.socket(self._spec), self._notice) as client:
                    await self._join(client)
                    await self._serve(client)
            except Disconnected:
                await asyncio.sleep(RECONNECT_S)
            except ProviderError as error:
                if self._session is None:
                    self._failure = error
                else:  # it was whole before, and may be again
                    self._emit(Degraded(f"codex: {error}"))
                    await asyncio.sleep(RETRY_S)
            finally:
                self._client = None
                self._changed.set()

    async def _join(self, client: Client) -> None:
        self._tracker.joining()
        joined = await session.join(
            client, self._spec, self._thread_id, adopted=self._adopted or self._session is not None
        )
        first = self._session is None or self._session.thread_id != joined.thread_id
        self._session, self._thread_id, self._client = joined, joined.thread_id, client
        if first:
            self._emit(SessionStarted(joined.thread_id, joined.source, joined.model))
            self._emit(Learnt({"model": joined.model, "effort": joined.effort, "providerVersion": joined.version}))
        else:
            self._emit(Degraded(None))
        self._tell(self._tracker.joined(joined.thread, joined.turns, time.time()))

    async def _serve(self, client: Client) -> None:
        """Look after what no notification tells, until the connection is over or the thread was put away."""
        while not client.closed.is_set() and not (self._tracker.unloaded and self._room.doing is None):
            await self._wait_change(TICK_S if self._tracker.turn is not None else None, client)
            now = time.time()
            if self._tracker.lost_end(now) is not None:
                self._tell(self._tracker.recover(await session.turns(client, self._thread(), PAGE)))
            elif (turn := self._tracker.hopeless(now)) is not None:
                await client.call("turn/interrupt", {"threadId": self._thread(), "turnId": turn.id})

    def _notice(self, method: str, params: Mapping[str, Any]) -> None:
        thread_id = params.get("threadId")
        if thread_id == self._thread_id and thread_id is not None:
            self._tell(self._tracker.notice(method, params, time.time()))
        if thread_id in (self._thread_id, None):
            self._room.heard(method, params)

    def _enter(self, joined: session.Session) -> None:
        """Go on with another thread of the same connection; the one before is idle."""
        if joined.thread_id != self._thread_id:
            self._tracker = Tracker()
        self._session, self._thread_id = joined, joined.thread_id
        self._emit(SessionStarted(joined.thread_id, joined.source, joined.model))
        self._tell(self._tracker.joined(joined.thread, joined.turns, time.time()))

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, TurnEnded):
                self._room.ended(event)
            self._emit(event)
        self._changed.set()

    async def _wait_change(self, seconds: float | None, client: Client | None = None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                waiting = [group.create_task(self._changed.wait())]
                if client is not None:
                    waiting.append(group.create_task(client.closed.wait()))
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in waiting:
                    task.cancel()
        except TimeoutError:
            return

    def _thread(self) -> str:
        assert self._thread_id is not None
        return self._thread_id

    # --- becoming ready -----------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Return when messages can go in; see `Process.ready`."""
        deadline = time.monotonic() + READY_S
        while self._client is None:
            if self._failure is not None:
                raise self._failure
            if not self._terminal.alive():
                status = await self._terminal.wait_exit()
                screen = await self._terminal.capture()
                raise ProviderExited(self.explain_exit(status, screen), exit_code=status.code, tail=screen.tail())
            if time.monotonic() > deadline:
                shown = (await self._terminal.capture()).tail(3).replace("\n", " | ") or "nothing"
                raise ProviderNotReady(f"Codex did not become ready in {READY_S:.0f} s; it says: {shown}")
            await self._wait_change(0.1)

    # --- messages in --------------------------------------------------------------------------------------------------

    async def obstacle(self, submission: Submission) -> Held | None:
        """Say what holds a submission now."""
        return self._hold(submission.timing)

    async def submit(self, submission: Submission) -> SubmitResult:
        """Put one message in, at most once: the server's answer is the only sign that it took it."""
        if self.state is ProcessState.BUSY and submission.timing is Timing.INTERRUPT:
            await self.interrupt()
        if (held := self._hold(submission.timing)) is not None:
            return held
        async with self._room.submitting():
            held = self._hold(submission.timing)  # an operation may have begun a turn meanwhile
            client, joined, turn = self._client, self._session, self._tracker.turn
            if held is not None or client is None or joined is None:
                return held or Held("no connection", retry_s=0.2)
            params = {"threadId": joined.thread_id, **prompt.given(submission, context=joined.context)}
            return await self._put(client, turn, params, submission.nonce)

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

    def _entered(self, answer: Mapping[str, Any], nonce: str) -> Submitted:
        """Take in the answer to turn/start: the id of a turn that a person began meanwhile means it was steered."""
        turn_id, turn = str(answer["turn"]["id"]), self._tracker.turn
        if turn is not None and turn.id == turn_id and turn.prompts > turn.nonces.count(nonce):
            return Submitted("turn/start, steered")
        self._tell(self._tracker.started(turn_id))
        return Submitted("turn/start")

    def _refused(self, error: Refused, *, steered: bool) -> Held:
        """Nothing entered: say when to try again, or raise where trying again as it is makes no sense."""
        text = str(error)
        if any(word in text for word in NOT_STEERABLE):
            return Held("compacting or reviewing")
        if steered:
            return Held("the turn is over", retry_s=0.2)
        if NOT_LOADED in text:
            self._tracker.unloaded = True
            self._changed.set()
            return Held("its session is being loaded", retry_s=0.2)
        raise ProviderRefused(f"Codex did not take it: {text}") from error

    def _hold(self, timing: Timing) -> Held | None:
        """Return why nothing can go in now."""
        match self.state:
            case _ if self._client is None:
                return Held("no connection", retry_s=0.2)
            case _ if self._room.doing is not None:
                return Held(self._room.doing, retry_s=0.5)
            case ProcessState.IDLE:
                return None
            case ProcessState.BUSY if timing is Timing.STEER and self._tracker.turn is not None:
                return None
            case ProcessState.WAITING:
                return Held("dialog open")
        return Held(str(self.state), retry_s=0.5)

    # --- evidence -----------------------------------------------------------------------------------------------------

    async def find(self, nonce: str) -> Evidence:
        """Ask the app-server's turns what became of a nonce, or the file that a dead one left."""
        if self._tracker.carries(nonce) and self._terminal.alive():
            return Evidence(True, history.SOURCE, TurnState.RUNNING)
        deadline = time.monotonic() + FIND_S
        while True:
            if (client := self._client) is not None and not client.closed.is_set():
                with contextlib.suppress(Disconnected):  # it broke only now
                    return await self._listed(client, nonce)
            if not self._terminal.alive():
                file = CodexHome.of(self._spec.environ).rollout(self._thread()) if self._thread_id else None
                return await asyncio.to_thread(rollout.find, file, nonce)
            if time.monotonic() > deadline:
                raise Disconnected("no connection to Codex")
            await self._wait_change(RECONNECT_S)

    async def _listed(self, client: Client, nonce: str) -> Evidence:
        cursor: str | None = None
        for _ in range(PAGES):
            turns, cursor = await session.page(client, self._thread(), PAGE, cursor)
            if (found := history.evidence(turns, nonce)) is not None:
                return found
            if cursor is None:
                break
        return Evidence(seen=False)

    async def hook(self, call: HookCall) -> HookReply:
        """Refuse: nothing in Codex calls hooks of ours."""
        return HookReply(status=404)

    # --- orders -------------------------------------------------------------------------------------------------------

    async def interrupt(self) -> None:
        """Stop the running turn and the commands it leaves behind; raise `ProviderRefused` when it does not stop."""
        client, turn = self._client, self._tracker.turn
        if turn is None or client is None:
            return
        deadline = time.monotonic() + INTERRUPT_S
        while self._tracker.turn is turn:
            if time.monotonic() > deadline:
                raise ProviderRefused("Codex did not stop its turn", hint="press Escape in its terminal")
            # Refused where the turn ended by itself, or was promised a moment ago and has not begun.
            with contextlib.suppress(Refused):
                await client.call("turn/interrupt", {"threadId": self._thread(), "turnId": turn.id})
            await self._wait_change(0.1)
        try:
            await client.call("thread/backgroundTerminals/clean", {"threadId": self._thread()})
        except Refused:
            return  # a version without it

    async def answer(self, permission_id: str, answer: Answer) -> bool:
        """Refuse: it asks nothing that could be answered from elsewhere."""
        raise ProviderUnsupported("codex asks no permissions that can be answered from elsewhere")

    async def leave(self, permission_id: str) -> None:
        """Do nothing: its own dialog asks anyway."""

    @property
    def operations(self) -> frozenset[str]:
        """What this version can do; none before it is ready."""
        return frozenset() if self._session is None else operations.available(self._session.methods)

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do one of Codex's own operations; see `Process.operate`."""
        return await operations.run(self._room, action, args)

    async def quit(self) -> None:
        """Ask the app-server to end: it would first see a running turn to its end, so that is interrupted."""
        with contextlib.suppress(ProviderError):  # it is ended all the same
            await self.interrupt()
        if self._terminal.alive():
            os.kill(self._terminal.process.pid, signal.SIGTERM)

    def explain_exit(self, status: ExitStatus, screen: Screen | None) -> str:
        """Return one line for a person: what the app-server said last."""
        words = screen.tail(1).strip()[:300] if screen is not None and status.code != 0 else ""
        return f"Codex ended ({status}){': ' + words if words else ''}"
