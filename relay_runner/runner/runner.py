"""One agent's runner: it composes the services and owns the one TaskGroup that they live in."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from relay_runner.config import Paths, private_dir
from relay_runner.errors import RelayRunnerError
from relay_runner.protocol.control import RunnerInfo, StatusAnswer, StatusPost
from relay_runner.protocol.frames import CommandFrame, Hello, MessageNew, PermissionDecision, ServerFrame
from relay_runner.protocol.tokens import TokenGrant
from relay_runner.protocol.wire import encode
from relay_runner.providers.base import Event, Provider
from relay_runner.relay.base import Relay
from relay_runner.runner import record
from relay_runner.runner.control import ControlServer
from relay_runner.runner.credentials import Credentials
from relay_runner.runner.delivering import Delivering
from relay_runner.runner.disk import Disk
from relay_runner.runner.identity import Identity
from relay_runner.runner.info import InfoFile
from relay_runner.runner.instruction import Order
from relay_runner.runner.journal import Journal
from relay_runner.runner.launcher import Launched, Launcher
from relay_runner.runner.lock import AgentLock
from relay_runner.runner.notes import Notes
from relay_runner.runner.options import RunnerExit, RunnerOptions
from relay_runner.runner.ordering import Ordering
from relay_runner.runner.permissions import Permissions
from relay_runner.runner.presence import Presence
from relay_runner.runner.prompt import FirstPrompt, Say, Tell
from relay_runner.runner.services import Shutdown, live
from relay_runner.runner.supervisor import Supervisor
from relay_runner.runner.timeline import Timeline
from relay_runner.runner.tools import RelayTools
from relay_runner.runner.work import Work
from relay_runner.terminal.base import Terminals

log = logging.getLogger(__name__)

TIDY_S = 3600.0


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
        on_token: Callable[[TokenGrant], None] = lambda grant: None,
        say: Say | None = None,
        tell: Tell = log.info,
        on_open: Callable[[RunnerInfo], None] = lambda info: None,
        on_ready: Callable[[RunnerInfo], None] = lambda info: None,
        environ: Mapping[str, str] | None = None,
        hidden: tuple[Path, ...] = (),
    ) -> None:
        self._options = options
        self._hidden = hidden
        self._relay = relay
        self._provider = provider
        self._terminals = terminals
        self._paths = paths.agent(options.agent_id)
        private_dir(paths.state)
        private_dir(paths.agents)
        private_dir(self._paths.root)
        private_dir(self._paths.run)
        self._identity = Identity(options, provider.capabilities, provider.project(options.profile))
        instance_id = self._identity.instance_id
        self._tell_token = on_token
        self._tell_open = on_open
        self._tell_ready = on_ready
        self._joined = asyncio.Event()
        self._is_ready = asyncio.Event()
        self._failed: asyncio.Queue[RelayRunnerError] = asyncio.Queue()
        self._work = Work(Timeline(instance_id))
        self._work.lifecycle = "starting"
        self._credentials = self._credentials_of(grant, reissue) if grant is not None else None
        self._journal = Journal(self._paths.journal)
        self._control = ControlServer(
            relay,
            self._paths.control,
            status=lambda: encode(self._work.status(time.time())),
            at=paths.control_socket(options.agent_id),
        )
        self._presence = self._presence_of()
        self._disk = Disk(self._journal, self._work, self._paths.root, publish=self._presence.publish)
        self._delivering = self._delivering_of()
        self._inbox = self._delivering.inbox
        self._launcher = self._launcher_of(os.environ if environ is None else environ)
        self._supervisor = self._supervisor_of()
        self._permissions = self._permissions_of()
        self._prompt = FirstPrompt(
            self._journal, options.agent_id, options.prompt, say=say, offer=self._inbox.offer, tell=tell
        )
        self._info = InfoFile(
            self._paths.info, options.info_file, identity=self._identity, control=self._control, provider=provider
        )
        self._notes = Notes(
            self._work,
            self._identity,
            on_session=self._session,
            on_lost=self._delivering.flights.session_lost,
            on_turn=self._launcher.spoken_in,
            on_idle=self._supervisor.provider_idle,
            on_unusable=lambda reason: self._supervisor.order(Order.RESTART, reason),
        )
        self._control.on_status = self._posted
        self._control.terminal = lambda: self._identity.attach
        self._disk.on_room = self._rewrite
        self._ordering = Ordering(
            relay,
            self._journal,
            identity=self._identity,
            work=self._work,
            joined=self._joined,
            presence=self._presence,
            supervisor=self._supervisor,
            permissions=self._permissions,
            delivering=self._delivering,
        )

    # --- put together -------------------------------------------------------------------------------------------------

    def _presence_of(self) -> Presence:
        return Presence(
            self._relay,
            agent_id=self._options.agent_id,
            instance_id=self._identity.instance_id,
            work=self._work,
            joined=self._joined,
            hello=self._hello,
            on_frame=self._frame,
            on_backlog=lambda records: self._inbox.offer_all(records),
            on_superseded=self._superseded,
            on_welcome=lambda welcome: self._delivering.claims.granted(welcome.lease_s),
            on_look=lambda: self._ordering.look(),
            heal=self._credentials.heal if self._credentials is not None else None,
        )

    def _launcher_of(self, environ: Mapping[str, str]) -> Launcher:
        return Launcher(
            self._options,
            provider=self._provider,
            terminals=self._terminals,
            paths=self._paths,
            control=self._control,
            journal=self._journal,
            runner_id=self._identity.runner_id,
            environ=environ,
            auth=lambda: self._work.auth,
            owed=self._delivering.reminding.owed,
            hidden=self._hidden,
            tools=RelayTools(
                self._relay,
                self._journal,
                self._options.agent_id,
                cwd=self._options.cwd,
                attachments=self._delivering.attachments,
            ),
        )

    def _supervisor_of(self) -> Supervisor:
        return Supervisor(
            self._options,
            provider=self._provider,
            launcher=self._launcher,
            control=self._control,
            inbox=self._inbox,
            work=self._work,
            emit=self._emit,
            publish=self._presence.publish,
            announce=self._presence.announce,
            on_open=self._opened,
            on_ready=self._ready,
            on_gone=lambda: self._permissions.gone(),
            has_room=self._disk.has_room,
        )

    def _delivering_of(self) -> Delivering:
        return Delivering(
            self._relay,
            self._journal,
            options=self._options,
            identity=self._identity,
            paths=self._paths,
            work=self._work,
            capabilities=self._provider.capabilities,
            joined=self._joined,
            process=lambda: self._supervisor.process,
            publish=self._presence.publish,
        )

    def _permissions_of(self) -> Permissions:
        return Permissions(
            self._relay,
            self._journal,
            self._identity,
            self._work,
            deadline_s=self._options.permission_deadline_s,
            headless=self._options.headless,
            joined=self._joined,
            process=lambda: self._supervisor.process,
            publish=self._presence.publish,
        )

    # --- from outside -------------------------------------------------------------------------------------------------

    async def run(self) -> RunnerExit:
        """Live: hold the lock, start everything, and return why it ended."""
        with AgentLock(self._paths.lock, self._options.agent_id), self._journal:
            saved = record.load(self._paths.process)
            self._control.bind(
                saved.control if saved else None, await self._terminals.listener(saved.terminal) if saved else None
            )
            self._info.write(None)
            try:
                async with self._relay, self._control.running():
                    return await live(self._services())
            finally:
                self._info.remove()

    def stop(self, reason: str, *, now: bool = False) -> None:
        """End the provider and the runner; `now` skips the grace."""
        self._supervisor.order(Order.KILL if now else Order.STOP, reason)

    def hand_over(self, reason: str) -> None:
        """End the runner and leave the provider running, for another runner to adopt."""
        self._supervisor.order(Order.HAND_OVER, reason)

    # --- the life -----------------------------------------------------------------------------------------------------

    def _services(self) -> dict[str, Coroutine[Any, Any, None]]:
        services = {
            "supervisor": self._supervise(),
            "presence": self._presence.run(),
            "backstop": self._presence.backstop(),
            **self._delivering.services(),
            "commands": self._ordering.run(),
            "permissions": self._permissions.run(),
            "prompt": self._prompt.run(),
            "telling": self._tell(),
            "failures": self._fail(),
            "tidying": self._tidy(),
            "disk": self._disk.run(),
        }
        if self._credentials is not None:
            self._relay.heal_with(self._credentials.heal)
            services["credentials"] = self._credentials.run()
        return services

    async def _supervise(self) -> None:
        try:
            end = await self._supervisor.run()
        except RelayRunnerError as error:
            self._work.error = str(error)
            self._work.provider(None)
            await self._ordering.part(RunnerExit(1, str(error)))
            raise
        await self._ordering.part(end)
        raise Shutdown(end)

    async def _tidy(self) -> None:
        while True:
            self._journal.prune(time.time())
            await self._delivering.attachments.prune(time.time(), {row.message.id for row in self._journal.open()})
            await asyncio.sleep(TIDY_S)

    async def _tell(self) -> None:
        """Say of each process when messages can go in: the program takes them, and the relay knows the agent."""
        while True:
            await self._is_ready.wait()
            await self._joined.wait()
            self._is_ready.clear()
            self._tell_ready(self._info.write(self._supervisor.process))

    async def _fail(self) -> None:
        raise await self._failed.get()

    # --- what happens -------------------------------------------------------------------------------------------------

    def _posted(self, post: StatusPost) -> StatusAnswer:
        answer = self._notes.post(post, self._control.endpoint.provider_session_id)
        self._presence.publish()
        return answer

    def _emit(self, event: Event) -> None:
        try:
            self._notes.take(event)
            self._permissions.event(event)
            self._inbox.event(event)
        except RelayRunnerError as error:
            self._failed.put_nowait(error)
        self._presence.publish()

    def _frame(self, frame: ServerFrame) -> None:
        match frame:
            case MessageNew(message=message, delivery=delivery):
                self._inbox.offer(message, delivery)
            case CommandFrame(command=command):
                self._ordering.offer(command)
            case PermissionDecision():
                self._permissions.frame(frame)
            case _:
                log.debug("nothing to do for the frame %s", type(frame).__name__)

    def _superseded(self, reason: str) -> None:
        self._supervisor.order(Order.STOP, reason, code=1)

    def _credentials_of(self, grant: TokenGrant, reissue: Callable[[], Awaitable[TokenGrant]] | None) -> Credentials:
        return Credentials(
            self._relay,
            grant,
            agent_id=self._options.agent_id,
            work=self._work,
            on_renewed=self._renewed,
            reissue=reissue,
        )

    def _renewed(self, grant: TokenGrant) -> None:
        self._presence.new_token()
        self._tell_token(grant)

    def _session(self, session_id: str) -> None:
        self._launcher.session_is(session_id)
        self._info.session_id = session_id
        self._info.write(self._supervisor.process)

    def _rewrite(self) -> None:
        """Write what could not be written while the disk was full."""
        if self._info.session_id is not None:
            self._launcher.session_is(self._info.session_id)
        self._info.write(self._supervisor.process)

    def _opened(self, launched: Launched) -> None:
        self._info.launched = launched
        self._permissions.open(adopted=launched.adopted)
        info = self._info.write(self._supervisor.process)
        if not self._provider.capabilities.viewer:  # else there is nothing to look at before it is ready
            self._tell_open(info)

    def _ready(self) -> None:
        info = self._info.write(self._supervisor.process)
        if self._provider.capabilities.viewer:
            self._tell_open(info)
        self._is_ready.set()
        if (launched := self._info.launched) is not None:
            self._prompt.ready(info.session_id or launched.spec.control.provider_session_id)
        self._permissions.ready()

    def _hello(self) -> Hello:
        self._identity.learn({"spentToday": self._delivering.refusing.today()})
        return self._identity.hello(self._work.status(time.time()))
