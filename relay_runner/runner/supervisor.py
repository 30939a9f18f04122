"""One provider process after the other: adopt or start, watch, restart or end.

The decision to start again is `RestartPolicy`; the ladder of ending is ask, TERM, KILL. Messages are attached to a
process only when it is ready, and settled from its records when it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from relay_runner.errors import ProviderError, ProviderExited, ProviderUnsupported, TerminalError
from relay_runner.providers.base import Event, Process, Provider, SessionLost
from relay_runner.runner.control import ControlServer
from relay_runner.runner.group import task_group
from relay_runner.runner.inbox import Inbox
from relay_runner.runner.instruction import Instruction, Order, Restarting
from relay_runner.runner.launcher import Launched, Launcher
from relay_runner.runner.options import RunnerExit, RunnerOptions
from relay_runner.runner.policy import GiveUp, RestartPolicy
from relay_runner.runner.submit import RETRY_S as DISK_RETRY_S
from relay_runner.runner.work import Work
from relay_runner.terminal.base import ExitStatus, Screen, Terminal

log = logging.getLogger(__name__)

CLEAN_UP_S = 10.0
LEAVE_S = 5.0
"""How long a message that is on its way in may hold up who takes over: they wait 10 s before they kill."""
SIGNALLED = 128
"""Exit codes from here on mean a signal (128 + n), or are minus the signal's number."""
TEND_S = 5.0
"""How often it is looked whether the terminal can be reached."""
DEAF = "hooks: their port was taken while no runner was here"
STOLEN = "another user's program listens on its control port"
UNHELD = "an older version started it, so its control port is not kept open without a runner"


LIFECYCLE = {Order.STOP: "shutting-down", Order.KILL: "killed", Order.RESTART: "restarting"}
"""What others see of an agent from the order on."""


class Supervisor:
    """Keep one provider process running for as long as it should."""

    def __init__(
        self,
        options: RunnerOptions,
        *,
        provider: Provider,
        launcher: Launcher,
        control: ControlServer,
        inbox: Inbox,
        work: Work,
        emit: Callable[[Event], None],
        publish: Callable[[], None],
        announce: Callable[[], Awaitable[None]],
        on_open: Callable[[Launched], None],
        on_ready: Callable[[], None],
        on_gone: Callable[[], None] = lambda: None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._options = options
        given_s = options.shutdown_timeout_s
        self._grace_s = provider.capabilities.grace_s if given_s is None else given_s
        self._provider = provider
        self._launcher = launcher
        self._control = control
        self._inbox = inbox
        self._work = work
        self._emit = emit
        self._publish = publish
        self._announce = announce
        """Publishes the status, and returns when others have it, or could not have it soon."""
        self._on_open = on_open
        self._on_ready = on_ready
        self._on_gone = on_gone
        self._has_room = has_room
        self._policy = RestartPolicy()
        self._orders: asyncio.Queue[Instruction] = asyncio.Queue()
        self._restarting = Restarting()
        self._resume = True
        self._failure = ""
        """Why the program could not be started the last time."""
        self._flaw: str | None = None
        """Why the process is to be restarted when it is idle."""
        self._terminal: Terminal | None = None
        self.process: Process | None = None

    def order(self, order: Order, reason: str, *, code: int = 0) -> Instruction:
        """Tell the supervisor what to do; what is returned tells when it is done."""
        instruction = Instruction(order, reason, code)
        self._orders.put_nowait(instruction)
        return instruction

    async def attended(self) -> bool:
        """Say whether a person looks at the agent's terminal now."""
        terminal = self._terminal
        return terminal is not None and terminal.alive() and await terminal.attended()

    def provider_idle(self) -> None:
        """Use an idle moment to restart a process that is not as this runner would have started it."""
        if self._flaw is not None and not self._inbox.in_flight:
            flaw, self._flaw = self._flaw, None
            self.order(Order.RESTART, flaw)

    async def run(self) -> RunnerExit:
        """Run provider processes until there is a reason to end; return it."""
        ended: RunnerExit | None = None
        try:
            ended = await self._run()
            return ended
        finally:
            self._restarting.fail(ended.reason if ended is not None else "the runner has ended")
            # What a person looks at outlives one process of the agent, and ends with the last.
            if self._terminal is not None and not self._terminal.alive():
                await self._bounded(self._terminal.close(), "close")

    async def _run(self) -> RunnerExit:
        launched: Launched | None = await self._launcher.adopt() or await self._launcher.launch()
        while True:
            ended = await self._live(launched) if launched is not None else self._again(self._failure, 0.0)
            if isinstance(ended, RunnerExit):
                return ended
            if ended > 0 and (stopped := await self._pause(ended)) is not None:
                return stopped
            launched = await self._relaunch()

    async def _relaunch(self) -> Launched | None:
        """Start the program again; None when that failed, which counts like any other exit."""
        resume, self._resume = self._resume, True
        try:
            return await self._launcher.launch(resume=resume)
        except (ProviderError, TerminalError, OSError) as error:
            log.warning("it cannot be started again now: %s", error)
            self._failure = f"it cannot be started: {error}"
            self._work.timeline.add("provider-not-started", reason=str(error))
            return None

    # --- one process --------------------------------------------------------------------------------------------------

    async def _live(self, launched: Launched) -> float | RunnerExit:
        """Watch one process to its end; return the delay before the next one, or why there is none."""
        self._terminal = launched.terminal
        self._work.unreachable = None
        self._work.degraded = DEAF if launched.deaf else UNHELD if launched.unheld else launched.crippled
        # One that cannot go on with its session would pay for it with all that was said.
        mends = launched.deaf or (launched.unheld and self._provider.capabilities.resume)
        self._flaw = self._work.degraded if mends else None
        if launched.stolen:
            log.error("%s: restarting the program, because its hooks no longer reach us", STOLEN)
            self.order(Order.RESTART, STOLEN)
        self._on_open(launched)
        if launched.lost is not None:
            self._emit(SessionLost(launched.lost))
        told = "provider-adopted" if launched.adopted else "provider-started"
        self._work.timeline.add(told, pid=launched.terminal.process.pid, resumed=launched.plan.resumed)
        async with self._provider.connect(
            launched.spec, launched.plan, launched.terminal, self._emit, adopted=launched.adopted
        ) as process:
            with self._control.serving(process):
                self.process = process
                try:
                    ended = await self._watch(process, launched)
                    if isinstance(ended, ExitStatus):
                        return await self._after_exit(process, launched, ended)
                    return await self._carry_out(process, launched, ended)
                finally:
                    self.process = None

    async def _watch(self, process: Process, launched: Launched) -> ExitStatus | Instruction:
        """Return when the process ended by itself, or when there is an order."""
        try:
            async with task_group() as group:
                exited = group.create_task(launched.terminal.wait_exit(), name="exit")
                ordered = group.create_task(self._orders.get(), name="order")
                welcome = group.create_task(self._welcome(process, launched), name="welcome")
                tending = group.create_task(self._tend(launched.terminal), name="terminal")
                await asyncio.wait((exited, ordered), return_when=asyncio.FIRST_COMPLETED)
                for task in (exited, ordered, welcome, tending):
                    task.cancel()
        except ProviderError:
            # It cannot be used as it is (it wants a person first, say), and must not be left without a runner.
            await self._end(process, launched, grace_s=0.0)
            raise
        return ordered.result() if not ordered.cancelled() else exited.result()

    async def _welcome(self, process: Process, launched: Launched) -> None:
        """Attach the inbox once the process can take messages."""
        try:
            await process.ready()
        except ProviderExited as error:
            log.info("not ready: %s", error)
            return
        await self._inbox.attach(process, launched.spec.control.provider_session_id)
        self._work.lifecycle = None
        self._publish()
        self._restarting.ready()
        self._on_ready()

    async def _tend(self, terminal: Terminal) -> None:
        """Keep the terminal within reach, and say it where that fails: a cleaner may take its socket at any time."""
        while True:
            trouble = await terminal.repair()
            if trouble != self._work.unreachable:
                log.warning("terminal: %s", trouble or "reachable again")
                self._work.unreachable = trouble
                self._publish()
            await asyncio.sleep(TEND_S)

    async def _carry_out(self, process: Process, launched: Launched, instruction: Instruction) -> float | RunnerExit:
        log.info("%s: %s", instruction.order, instruction.reason)
        try:
            if instruction.order is Order.HAND_OVER:
                await self._bounded(self._inbox.leave(), "the last message on its way in", LEAVE_S)
                self._control.leave()  # what comes from here on is for the next runner, which hears of it first
                launched.terminal.detach()
                return RunnerExit(instruction.code, instruction.reason)
            restart = instruction.order is Order.RESTART
            self._work.lifecycle = LIFECYCLE[instruction.order]
            await self._announce()
            grace_s = 0.0 if instruction.order is Order.KILL else self._grace_s
            await self._end(process, launched, grace_s=grace_s)
            if restart:
                self._restarting.begin(instruction)
                return 0.0
            return RunnerExit(instruction.code, instruction.reason)
        finally:
            if instruction.order is not Order.RESTART:
                instruction.done()

    async def _end(self, process: Process, launched: Launched, *, grace_s: float) -> None:
        """End the process by escalation, settle what it carried, take its terminal away."""
        if grace_s > 0:
            with contextlib.suppress(ProviderUnsupported):
                await self._bounded(process.quit(), "quit")
        await self._bounded(launched.terminal.terminate(grace_s=grace_s), "terminate")
        await self._gone(launched)

    async def _gone(self, launched: Launched) -> None:
        """The process is dead: settle, forget, clean up."""
        await self._bounded(self._inbox.detach(), "settle")
        self._on_gone()
        self._work.provider(None)
        self._publish()
        await self._bounded(launched.terminal.close(keep_viewer=True), "close")
        self._launcher.forget(launched)

    async def _bounded(self, work: object, what: str, timeout_s: float | None = None) -> None:
        assert asyncio.iscoroutine(work)
        try:
            async with asyncio.timeout(CLEAN_UP_S + self._grace_s if timeout_s is None else timeout_s):
                await work
        except TimeoutError:
            log.error("%s took too long and was left", what)
        except (ProviderError, TerminalError) as error:
            if isinstance(error, ProviderUnsupported):
                raise
            log.warning("%s: %s", what, error)

    # --- after an exit nobody asked for -------------------------------------------------------------------------------

    async def _after_exit(self, process: Process, launched: Launched, status: ExitStatus) -> float | RunnerExit:
        screen = await self._last_screen(launched.terminal)
        reason = process.explain_exit(status, screen)
        log.warning("the provider ended (%s): %s", status, reason)
        self._work.timeline.add("provider-exited", reason=reason, code=status.code)
        await self._gone(launched)
        if self._provider.lost_session(launched.plan, screen):
            log.warning("session %s is lost; a new one is started", launched.plan.session_id)
            self._resume = False
            if launched.plan.session_id is not None:
                self._emit(SessionLost(launched.plan.session_id))
        elif not self._options.headless and not _accident(status):
            if status.code == 0:
                return RunnerExit(0, reason)
            self._work.error = reason
            return RunnerExit(1, reason)
        return self._again(reason, time.time() - launched.started_at)

    def _again(self, reason: str, ran_for: float) -> float | RunnerExit:
        """Ask the policy whether the program is started once more."""
        if not self._has_room():  # whatever it ended of, it does not count: nothing could live on this disk
            self._work.lifecycle = "restarting"
            self._publish()
            return DISK_RETRY_S
        decision = self._policy.after_exit(time.time(), ran_for)
        if isinstance(decision, GiveUp):
            self._work.error = f"given up: {decision.reason} ({reason})"
            self._work.timeline.add("provider-given-up", reason=self._work.error)
            self._publish()
            return RunnerExit(1, self._work.error)
        self._work.lifecycle = "restarting"
        self._publish()
        return decision

    async def _last_screen(self, terminal: Terminal) -> Screen | None:
        try:
            async with asyncio.timeout(CLEAN_UP_S):
                return await terminal.capture()
        except (TerminalError, ProviderError, TimeoutError) as error:
            log.info("its last screen cannot be read: %s", error)
            return None

    async def _pause(self, delay_s: float) -> RunnerExit | None:
        """Wait before the next start; an order to stop ends the wait."""
        try:
            async with asyncio.timeout(delay_s):
                instruction = await self._orders.get()
        except TimeoutError:
            return None
        if instruction.order is Order.RESTART:
            self._restarting.begin(instruction)
            return None
        instruction.done()
        return RunnerExit(instruction.code, instruction.reason)


def _accident(status: ExitStatus) -> bool:
    """Say whether a signal ended it: then nobody inside wanted it to end."""
    return status.code is None or status.code < 0 or status.code > SIGNALLED
