"""One agent's runner: it composes the services and owns the one TaskGroup that they live in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from relay_runner.config import Paths, private_dir, write_private
from relay_runner.errors import (
    ClaimLost,
    ConfigError,
    ProtocolError,
    ProviderUnsupported,
    RelayRefused,
    RelayRunnerError,
    RelayUnavailable,
)
from relay_runner.protocol.agents import WorkKind
from relay_runner.protocol.commands import Command
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.frames import CommandFrame, Hello, MessageNew, ServerFrame
from relay_runner.protocol.tokens import TokenGrant
from relay_runner.protocol.wire import encode
from relay_runner.providers.base import (
    Degraded,
    Event,
    Learnt,
    ProcessState,
    Provider,
    SessionStarted,
    StateChanged,
    SubagentEnded,
    SubagentStarted,
    TurnEnded,
    TurnStarted,
)
from relay_runner.relay.base import Relay
from relay_runner.runner import record
from relay_runner.runner.claims import Claims
from relay_runner.runner.commands import Commands
from relay_runner.runner.control import ControlServer
from relay_runner.runner.credentials import Credentials
from relay_runner.runner.flights import Flights
from relay_runner.runner.group import task_group
from relay_runner.runner.identity import Identity
from relay_runner.runner.inbox import Inbox
from relay_runner.runner.journal import Journal
from relay_runner.runner.launcher import Launched, Launcher
from relay_runner.runner.lock import AgentLock
from relay_runner.runner.options import RunnerExit, RunnerOptions
from relay_runner.runner.presence import Presence
from relay_runner.runner.receipts import Receipts
from relay_runner.runner.supervisor import Order, Supervisor
from relay_runner.runner.work import Work
from relay_runner.terminal.base import Terminals

log = logging.getLogger(__name__)

FLUSH_S = 5.0
TIDY_S = 3600.0


class Shutdown(Exception):
    """Everything is done; the runner ends with this exit."""

    def __init__(self, exit: RunnerExit) -> None:
        super().__init__(exit.reason)
        self.exit = exit


class Runner:
    """One life of one agent's runner: `run` once."""

    def __init__(
        self,
        options: RunnerOptions,
        *,
        relay: Relay,
        provider: Provider,
        terminals: Terminals,
        paths: Paths,
        grant: TokenGrant | None = None,
        reissue: Callable[[], Awaitable[TokenGrant]] | None = None,
        on_open: Callable[[RunnerInfo], None] = lambda info: None,
        on_ready: Callable[[RunnerInfo], None] = lambda info: None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._options = options
        self._relay = relay
        self._provider = provider
        self._paths = paths.agent(options.agent_id)
        private_dir(paths.state)
        private_dir(paths.agents)
        private_dir(self._paths.root)
        private_dir(self._paths.run)
        self._identity = Identity(options, grant)
        self._instance_id = self._identity.instance_id
        self._reissue = reissue
        self._tell_open = on_open
        self._tell_ready = on_ready
        self._launched: Launched | None = None
        self._retire = False
        self._joined = asyncio.Event()
        self._failed: asyncio.Queue[RelayRunnerError] = asyncio.Queue()
        self._work = Work()
        self._work.lifecycle = "starting"
        self._journal = Journal(self._paths.journal)
        self._control = ControlServer(relay, self._paths.control, status=lambda: encode(self._work.status(time.time())))
        self._claims = Claims(relay, options.agent_id, self._instance_id)
        self._receipts = Receipts(relay, self._journal, options.agent_id, self._instance_id, self._joined)
        self._presence = Presence(
            relay,
            agent_id=options.agent_id,
            instance_id=self._instance_id,
            work=self._work,
            joined=self._joined,
            hello=self._hello,
            on_frame=self._frame,
            on_backlog=lambda records: self._inbox.offer_all(records),
            on_superseded=self._superseded,
        )
        self._flights = Flights(
            journal=self._journal,
            claims=self._claims,
            receipts=self._receipts,
            work=self._work,
            capabilities=provider.capabilities,
            publish=self._presence.publish,
        )
        self._inbox = Inbox(
            relay=relay,
            journal=self._journal,
            claims=self._claims,
            receipts=self._receipts,
            flights=self._flights,
            capabilities=provider.capabilities,
            agent_id=options.agent_id,
            joined=self._joined,
        )
        self._commands = Commands(relay, self._journal, options.agent_id, self._command_table())
        self._launcher = Launcher(
            options,
            provider=provider,
            terminals=terminals,
            paths=self._paths,
            control=self._control,
            journal=self._journal,
            runner_id=self._identity.runner_id,
            environ=os.environ if environ is None else environ,
        )
        self._supervisor = Supervisor(
            options,
            provider=provider,
            launcher=self._launcher,
            control=self._control,
            inbox=self._inbox,
            work=self._work,
            emit=self._emit,
            publish=self._presence.publish,
            on_open=self._opened,
            on_ready=self._ready,
        )

    # --- from outside -------------------------------------------------------------------------------------------------

    async def run(self) -> RunnerExit:
        """Live: hold the lock, start everything, and return why it ended."""
        with AgentLock(self._paths.lock, self._options.agent_id), self._journal:
            saved = record.load(self._paths.process)
            self._control.bind(saved.control if saved else None)
            self._write_info()
            try:
                async with self._relay, self._control.running():
                    return await self._live()
            finally:
                self._paths.info.unlink(missing_ok=True)

    def stop(self, reason: str, *, now: bool = False) -> None:
        """End the provider and the runner; `now` skips the grace."""
        self._supervisor.order(Order.KILL if now else Order.STOP, reason)

    def hand_over(self, reason: str) -> None:
        """End the runner and leave the provider running, for another runner to adopt."""
        self._supervisor.order(Order.HAND_OVER, reason)

    # --- the life -----------------------------------------------------------------------------------------------------

    async def _live(self) -> RunnerExit:
        try:
            async with task_group() as group:
                for name, service in self._services().items():
                    group.create_task(service, name=name)
        except BaseExceptionGroup as errors:
            shutdown, others = errors.split(Shutdown)
            if shutdown is not None and others is None:
                return _exit_of(shutdown)
            raise
        raise AssertionError("the services never end by themselves")

    def _services(self) -> dict[str, Coroutine[Any, Any, None]]:
        services = {
            "supervisor": self._supervise(),
            "presence": self._presence.run(),
            "backstop": self._presence.backstop(),
            "inbox": self._inbox.run(),
            "receipts": self._receipts.run(),
            "claims": self._claims.run(),
            "commands": self._obey(),
            "failures": self._fail(),
            "tidying": self._tidy(),
        }
        if self._identity.grant is not None:
            services["credentials"] = Credentials(self._relay, self._identity.grant, self._renewed, self._reissue).run()
        return services

    async def _supervise(self) -> None:
        try:
            end = await self._supervisor.run()
        except RelayRunnerError as error:
            self._work.error = str(error)
            self._work.provider(None)
            await self._farewell(RunnerExit(1, str(error)))
            raise
        await self._farewell(end)
        raise Shutdown(end)

    async def _farewell(self, end: RunnerExit) -> None:
        """Tell the relay everything that is still to be told; bounded, for the relay may be gone."""
        self._presence.publish()
        if not self._joined.is_set():
            return
        if not await self._receipts.flushed(FLUSH_S):
            log.warning("the relay did not take all receipts; the next runner sends them")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                try:
                    await self._inbox.hand_back()
                    await self._commands.farewell(end.reason)
                    status = self._work.status(time.time())
                    await self._relay.put_status(self._options.agent_id, self._instance_id, status)
                    if self._retire:
                        await self._relay.remove_agent(self._options.agent_id)
                except (RelayUnavailable, RelayRefused, ProtocolError, ClaimLost) as error:
                    log.info("the relay does not know that we end: %s", error)

    async def _obey(self) -> None:
        await self._joined.wait()
        with contextlib.suppress(RelayUnavailable, RelayRefused, ProtocolError):  # the bus brings what comes later
            await self._commands.fetch()
        await self._commands.run()

    async def _tidy(self) -> None:
        while True:
            self._journal.prune(time.time())
            await asyncio.sleep(TIDY_S)

    async def _fail(self) -> None:
        raise await self._failed.get()

    # --- what happens -------------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        try:
            self._note(event)
            self._inbox.event(event)
        except RelayRunnerError as error:
            self._failed.put_nowait(error)
        self._presence.publish()

    def _note(self, event: Event) -> None:
        now = time.time()
        match event:
            case SessionStarted(session_id, model=model):
                self._work.session_id = session_id
                self._identity.learn({"model": model, "sessionId": session_id})
                self._launcher.session_is(session_id)
                self._write_info()
            case StateChanged(state, detail=detail):
                self._work.provider(state, detail)
                if state is ProcessState.IDLE:
                    self._supervisor.provider_idle()
            case TurnStarted(turn_id, source):
                self._work.start(WorkKind.TURN, turn_id, now=now, source=source)
            case TurnEnded():
                self._work.clear(WorkKind.TURN)
            case SubagentStarted(id, source, role, label):
                self._work.start(WorkKind.SUBAGENT, id, now=now, source=source, role=role, label=label)
            case SubagentEnded(None):
                self._work.clear(WorkKind.SUBAGENT)
            case SubagentEnded(str() as id):
                self._work.finish(WorkKind.SUBAGENT, id)
            case Degraded(reason):
                self._work.degraded = reason
            case Learnt(values):
                self._identity.learn(values)

    def _frame(self, frame: ServerFrame) -> None:
        match frame:
            case MessageNew(message=message, delivery=delivery):
                self._inbox.offer(message, delivery)
            case CommandFrame(command=command):
                self._commands.offer(command)
            case _:
                log.debug("nothing to do for the frame %s", type(frame).__name__)

    def _superseded(self, reason: str) -> None:
        self._supervisor.order(Order.STOP, reason, code=1)

    def _renewed(self, grant: TokenGrant) -> None:
        self._identity.grant = grant
        self._presence.redial()

    def _opened(self, launched: Launched) -> None:
        self._launched = launched
        info = self._write_info()
        if not self._provider.capabilities.viewer:  # else there is nothing to look at before it is ready
            self._tell_open(info)

    def _ready(self) -> None:
        info = self._write_info()
        if self._provider.capabilities.viewer:
            self._tell_open(info)
        self._tell_ready(info)

    def _attach(self) -> tuple[str, ...]:
        """Return the command line that shows the agent to a person; empty while there is nothing to see."""
        if self._launched is None:
            return ()
        terminal, process = self._launched.terminal, self._supervisor.process
        if not self._provider.capabilities.viewer:
            return terminal.attach_command()
        return terminal.attach_command(process.viewer) if process is not None and process.viewer else ()

    def _write_info(self) -> RunnerInfo:
        terminal = self._launched.terminal if self._launched else None
        info = self._identity.info(self._control.endpoint, terminal, self._work.session_id, self._attach())
        for file in (self._paths.info, self._options.info_file):
            if file is not None:
                try:
                    write_private(file, encode(info))
                except OSError as error:
                    raise ConfigError(f"cannot write {file} ({error.strerror})", hint="name another file") from error
        return info

    def _hello(self) -> Hello:
        return self._identity.hello(self._work.status(time.time()))

    # --- commands -----------------------------------------------------------------------------------------------------

    def _command_table(self) -> dict[str, Callable[[Command], Awaitable[Mapping[str, Any]]]]:
        return {
            "agent.shutdown": self._shutdown,
            "agent.kill": self._kill,
            "agent.restart": self._restart,
            "agent.interrupt": self._interrupt,
        }

    async def _shutdown(self, command: Command) -> Mapping[str, Any]:
        return await self._end(Order.STOP, command)

    async def _kill(self, command: Command) -> Mapping[str, Any]:
        return await self._end(Order.KILL, command)

    async def _end(self, order: Order, command: Command) -> Mapping[str, Any]:
        """End the provider; the runner ends with it, and `farewell` makes sure that this is reported."""
        self._retire = True
        await self._supervisor.order(order, f"{command.type} by {command.sender}").wait()
        return {}

    async def _restart(self, command: Command) -> Mapping[str, Any]:
        await self._supervisor.order(Order.RESTART, f"{command.type} by {command.sender}").wait()
        return {}

    async def _interrupt(self, command: Command) -> Mapping[str, Any]:
        process = self._supervisor.process
        if process is None:
            raise ProviderUnsupported("no provider runs just now")
        await process.interrupt()
        return {"providerState": str(process.state)}


def _exit_of(group: BaseExceptionGroup[Shutdown]) -> RunnerExit:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, Shutdown)
    return first.exit
