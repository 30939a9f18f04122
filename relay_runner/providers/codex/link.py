"""The runner's end of one app-server: the connection, the agent's thread on it, and all that is noticed over it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from relay_runner.errors import ProviderError
from relay_runner.providers.base import (
    Degraded,
    Emit,
    Event,
    LaunchPlan,
    LaunchSpec,
    Learnt,
    ProcessState,
    SessionLost,
    SessionStarted,
    TurnEnded,
    Unusable,
)
from relay_runner.providers.beside import beside
from relay_runner.providers.codex import family, launch, operations, projection, restarted, rollout, session, settings
from relay_runner.providers.codex.approvals import RESOLVED, Approvals
from relay_runner.providers.codex.client import Client, Disconnected, Request, opened
from relay_runner.providers.codex.failures import Kind
from relay_runner.providers.codex.goals import Goal
from relay_runner.providers.codex.home import CodexHome
from relay_runner.providers.codex.memo import Memo, Stage
from relay_runner.providers.codex.notices import Notices
from relay_runner.providers.codex.tools import ToolCalls
from relay_runner.providers.codex.turns import Tracker
from relay_runner.providers.tail import STRANGE

log = logging.getLogger(__name__)

RECONNECT_S = 0.05
RETRY_S = 1.0
TICK_S = 0.5
CUT_OFF_S = 2.0
SOCKET_LOOK_S = 20.0
PAGE = 20


class Link:
    """Stay connected and subscribed, keep what is known, and tell what happens."""

    def __init__(
        self,
        spec: LaunchSpec,
        plan: LaunchPlan,
        emit: Emit,
        *,
        process: str,
        adopted: bool,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        """`process` tells this app-server from every other; `alive` says whether it runs."""
        self.spec = spec
        self.plan = plan
        self.emit = emit
        self.tracker = Tracker(spec.unreachable_s)
        self.approvals = Approvals(emit, process=process, standing=spec.isolated_home)
        self.client: Client | None = None
        """The connection, once the thread is joined over it."""
        self.session: session.Session | None = None
        self.thread_id = plan.session_id
        self.former: list[str] = []
        """The threads that were the agent's before it, in this life: what they carried stays provable."""
        self.failure: ProviderError | None = None
        """Why it can never be joined."""
        self.changed = asyncio.Event()
        """Set when anything was noticed."""
        self._memo = Memo(spec.agent_dir)
        self.goal = Goal(self._memo)
        self.room = operations.Room(
            spec,
            self._memo,
            connected=lambda: None if self.client is None or self.session is None else (self.client, self.session),
            state=lambda: self.tracker.state,
            enter=self._enter,
        )
        self._adopted = adopted
        self._alive = alive
        self._cut_off_at: float | None = None
        """Since when it lives without the socket at which it listened."""
        self._socketless = False
        self._calls = ToolCalls(spec.tools)
        self._notices = Notices()
        self._unknown: list[Request] = []
        self._met: session.Session | None = None
        """The session that was asked for all that belongs to it."""

    @property
    def thread(self) -> str:
        """The agent's thread, once it is joined."""
        assert self.thread_id is not None
        return self.thread_id

    async def watch(self) -> None:
        """Stay connected, and to the thread, until cancelled; a connection that broke is made again."""
        if not self._adopted:
            self.become(Stage.STARTING)
        while self.failure is None:
            try:
                self._calls, self._unknown = ToolCalls(self.spec.tools), []
                async with opened(launch.socket(self.spec), self._notice, self._asked) as client:
                    await self._join(client)
                    async with beside(self._calls.run(client)):
                        await self._serve(client)
            except Disconnected as error:
                if self.session is not None and self._memo.stage is Stage.READY:
                    self.become(Stage.DEGRADED, str(error))
                self._cut_off(time.monotonic())
                await asyncio.sleep(RECONNECT_S)
            except ProviderError as error:
                self.become(Stage.DEGRADED, str(error))
                if self.session is None:
                    self.failure = error
                else:  # it was whole before, and may be again
                    self.emit(Degraded(f"codex: {error}"))
                    await asyncio.sleep(RETRY_S)
            finally:
                self.client = None
                self.approvals.lost()
                self.changed.set()

    def _cut_off(self, now: float) -> None:
        """Tell once when a live server has lost its socket: it stands in /tmp (0.171), and is never made again."""
        listened = self._adopted or self.session is not None
        if not listened or launch.socket(self.spec).exists() or self._memo.stage is Stage.STOPPING or not self._alive():
            self._cut_off_at = None
        elif self._cut_off_at is None:
            self._cut_off_at = now
        elif now - self._cut_off_at > CUT_OFF_S:
            # One that ends takes its socket away first, so it is given a moment.
            self._cut_off_at = math.inf
            self.emit(Unusable("the socket of Codex's app-server was removed"))

    def _look_for_socket(self) -> None:
        """Tell when the socket is gone, while this connection to it is still good."""
        gone = not launch.socket(self.spec).exists()
        if gone and not self._socketless:
            self.emit(Degraded("codex: its socket was removed, so attach cannot show it; restart it"))
        self._socketless = gone

    async def _join(self, client: Client) -> None:
        self.tracker.status.joining()
        wanted, adopted = self.thread_id, self._adopted or self.session is not None
        joined = await session.join(client, self.spec, wanted, adopted=adopted)
        if not adopted:
            await restarted.tell(client, self._memo, joined)
        first = self.session is None or self.session.thread_id != joined.thread_id
        if first:
            self._forget()
        self.session, self.thread_id = joined, joined.thread_id
        if wanted is not None and wanted != joined.thread_id:
            self._memo.lose(wanted)
            self.emit(SessionLost(wanted))
        if first:
            self.emit(SessionStarted(joined.thread_id, joined.source, joined.model))
            self.emit(Learnt({"providerVersion": joined.version, "home": projection.describe(self.spec)}))
        else:
            self.emit(Degraded(None))
        self._learn(joined)
        if first and joined.turns:
            file = joined.thread.get("path")
            used = await asyncio.to_thread(rollout.used, Path(file) if file else None)
            self.tracker.stands(joined.thread_id, used)
        self.tell(self.tracker.joined(joined.thread, joined.turns, time.time()))
        await self._meet(client)
        self.approvals.joined(client, time.time())
        self.client = client
        await self._settle()
        self.become(Stage.READY)
        self.changed.set()

    async def _meet(self, client: Client) -> None:
        """Ask for what belongs to a thread that was joined or entered: its sub-agents, its goal."""
        self._met = self.session
        for events in await family.join(client, self.thread, self.tracker.agents):
            self.tell(self.tracker.looked(events))
        if self.session is not None:
            await self.goal.look(client, self.thread, self.session.methods)

    async def _serve(self, client: Client) -> None:
        """Look after what no notification tells, until the connection is over or the thread was put away."""
        while not client.closed.is_set() and not (self.tracker.status.unloaded and self.room.doing is None):
            watchful = self.tracker.state is not ProcessState.IDLE or self.approvals.unsettled
            watchful = watchful or self.goal.aside(self.thread_id)
            if not self._unknown and self._met is self.session:
                await self.wait_change(TICK_S if watchful else SOCKET_LOOK_S, client)
            self._look_for_socket()
            await self._settle()
            await self._refuse(client)
            if self._met is not self.session:
                await self._meet(client)
            await self._look(client, time.time())
            await self.goal.tend(client, self.thread, self.tracker.state, time.time())

    async def _look(self, client: Client, now: float) -> None:
        """Ask for what should have been told: notifications may be lost, a turn's end above all."""
        if self.tracker.lost_end(now) is not None:
            self.tell(self.tracker.recover(await session.turns(client, self.thread, PAGE)))
        elif (turn := self.tracker.hopeless(now)) is not None:
            await client.call("turn/interrupt", {"threadId": self.thread, "turnId": turn.id})
        if self.tracker.quiet(now):
            found = await family.read(client, self.thread)
            self.tell(self.tracker.looked_at(found, time.time()))
        for id in self.tracker.agents.unsure(now):
            found = await family.read(client, id)
            self.tell(self.tracker.looked(self.tracker.agents.look(found, id, time.time())))

    async def _settle(self) -> None:
        find, live = CodexHome.of(self.spec.environ).rollout, self.live_turns()
        await self.approvals.settle(waiting=self.tracker.waiting, live=live, find=find, now=time.time())

    async def _refuse(self, client: Client) -> None:
        """Refuse what we do not know and nobody is there to answer, so that nothing hangs."""
        asked, self._unknown = self._unknown, []
        for request in asked:
            log.warning("Codex asks %s, which this program does not know", request.method)
            await client.refuse(request.id, f"relay-runner does not know {request.method}, and no person is here")

    # --- what the server says -----------------------------------------------------------------------------------------

    def _notice(self, method: str, params: Mapping[str, Any]) -> None:
        try:
            self._noticed(method, params)
        except STRANGE as error:
            log.warning("%s: Codex told %s in an unknown shape: %r", Kind.PROTOCOL_ERROR, method, error)

    def _noticed(self, method: str, params: Mapping[str, Any]) -> None:
        thread_id, now = params.get("threadId"), time.time()
        self.approvals.notice(method, params, now)
        if method == RESOLVED:
            self._calls.resolved(params.get("requestId"))
        # Of a thread that is being started its warnings come before its id does.
        ours = self.thread_id is None or thread_id in (self.thread_id, None)
        if ours and (warned := self._notices.take(method, params)) is not None:
            log.warning("Codex warns: %s", warned.text)
            self.emit(warned)
        if thread_id in (self.thread_id, None):
            self.room.heard(method, params)
            self.tracker.account(method, params)
        if self.thread_id is None:
            return
        if method == family.STARTED and family.parent(params.get("thread")) is not None:
            self.tell(self.tracker.looked(family.born(params["thread"], self.thread_id, self.tracker.agents, now)))
        elif thread_id == self.thread_id and method == settings.UPDATED:
            self._set(params.get("threadSettings") or {})
        elif thread_id == self.thread_id:
            self.goal.notice(method, params)
            self.tell(self.tracker.notice(method, params, now))
        elif thread_id is not None:
            self.tell(self.tracker.elsewhere(str(thread_id), method, params, now))

    def _asked(self, request: Request) -> None:
        who = self.tracker.agents.label(request.thread_id)
        try:
            taken = self._calls.take(request) or self.approvals.take(request, who, any=not self.spec.headless)
        except STRANGE as error:
            log.warning("%s: Codex asked %s in an unknown shape: %r", Kind.PROTOCOL_ERROR, request.method, error)
            taken = False
        if not taken:
            self._unknown.append(request)
        self.changed.set()

    def _enter(self, joined: session.Session) -> None:
        """Go on with another thread of the same connection; the one before is idle."""
        if joined.thread_id != self.thread_id:
            self._forget()
            self.tracker = Tracker(self.spec.unreachable_s)
            self.former.extend([self.thread_id] if self.thread_id else [])
        self.session, self.thread_id = joined, joined.thread_id
        self.goal = Goal(self._memo)
        self.emit(SessionStarted(joined.thread_id, joined.source, joined.model))
        self._learn(joined)
        self.tell(self.tracker.joined(joined.thread, joined.turns, time.time()))

    def _learn(self, joined: session.Session) -> None:
        """Tell what the thread runs with."""
        learnt = {"model": joined.model, "effort": joined.effort, "approvalMode": joined.approval_mode}
        self.emit(Learnt(learnt))
        if joined.source != "resume":
            self.tell(self.tracker.fresh(time.time()))

    def _set(self, told: Mapping[str, Any]) -> None:
        """Take in what the thread runs with from now on, whoever changed it."""
        now_set = settings.told(told, self.spec.approval_mode)
        if (joined := self.session) is not None:
            joined.profile = (told.get("activePermissionProfile") or {}).get("id")
            joined.model, joined.effort = now_set["model"], now_set["effort"]
            joined.approval_mode = now_set["approvalMode"]
        self.emit(Learnt(now_set))

    def _forget(self) -> None:
        """Leave what belongs to the session before."""
        self.approvals.forget()
        self.tell(self.tracker.looked(self.tracker.agents.clear()))

    def live_turns(self) -> list[str]:
        """Return the turns that run, the sub-agents' included."""
        turn = self.tracker.turn
        return [
            *([turn.id] if turn is not None else []),
            *(one.turn_id for one in self.tracker.agents.running if one.turn_id),
        ]

    def become(self, stage: Stage, error: str | None = None) -> None:
        """Note where the server stands, and tell."""
        self.emit(Learnt({"appServer": self._memo.became(stage, time.time(), error)}))

    def tell(self, events: Iterable[Event]) -> None:
        """Emit what follows from something that was noticed."""
        for event in events:
            if isinstance(event, TurnEnded):
                self.room.ended(event)
            self.emit(event)
        self.changed.set()

    async def wait_change(self, seconds: float | None, client: Client | None = None) -> None:
        """Return when something was noticed, the connection is over, or after `seconds`."""
        self.changed.clear()
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                waiting = [group.create_task(self.changed.wait())]
                if client is not None:
                    waiting.append(group.create_task(client.closed.wait()))
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in waiting:
                    task.cancel()
        except TimeoutError:
            return
