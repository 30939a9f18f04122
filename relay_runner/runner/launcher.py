"""How a provider process comes to be this runner's: adopted from the runner before, or started.

What is saved of it (`process.json`) is written after the terminal is open and before any message goes in, so that a
runner that dies in between leaves a program in which provably nothing was put; the next start ends it.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from relay_runner.config import HOME_VARIABLE, AgentPaths, private_dir
from relay_runner.errors import ProviderUnsupported
from relay_runner.protocol.agents import Auth
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.providers.base import LaunchPlan, LaunchSpec, Owed, Provider, Tools, nothing_owed
from relay_runner.runner import environment, record
from relay_runner.runner.control import ControlServer
from relay_runner.runner.journal import Journal
from relay_runner.runner.options import RunnerOptions
from relay_runner.runner.record import ProcessRecord
from relay_runner.terminal import processes
from relay_runner.terminal.base import HEIGHT, WIDTH, Terminal, Terminals, TerminalSpec

log = logging.getLogger(__name__)

SESSION_FACT = "session"
SPOKEN_FACT = "spoken"
"""The last session in which something was said: another one that cannot be resumed is no loss."""


@dataclass(frozen=True, slots=True)
class Launched:
    """One provider process with everything that belongs to it."""

    spec: LaunchSpec
    plan: LaunchPlan
    terminal: Terminal
    adopted: bool
    started_at: float
    deaf: bool = False
    """It was adopted, and posts its hooks to a port that this runner could not have."""
    stolen: bool = False
    """That port is, for all that is known, another user's: who reads its hooks there, and answers them?"""
    unheld: bool = False
    """It was adopted, and nothing keeps its port while no runner is here: an older version started it."""
    crippled: str | None = None
    """Why what we give it to run cannot be run."""
    lost: str | None = None
    """The session that it was to go on with, and could not: it begins anew."""


class Launcher:
    """Start and adopt processes, and remember which session they are on."""

    def __init__(
        self,
        options: RunnerOptions,
        *,
        provider: Provider,
        terminals: Terminals,
        paths: AgentPaths,
        control: ControlServer,
        journal: Journal,
        runner_id: str,
        environ: Mapping[str, str],
        tools: Tools | None = None,
        auth: Callable[[], Auth | None] = lambda: None,
        owed: Owed = nothing_owed,
        hidden: tuple[Path, ...] = (),
    ) -> None:
        self._options = options
        self._provider = provider
        self._terminals = terminals
        self._paths = paths
        self._control = control
        self._journal = journal
        self._runner_id = runner_id
        self._environ = environ
        self._tools = tools
        self._auth = auth
        self._owed = owed
        self._hidden = hidden
        self._launches = 0

    async def adopt(self) -> Launched | None:
        """Return the process that an earlier runner left, or None when it is proven dead."""
        saved = record.load(self._paths.process)
        if saved is None:
            return None
        terminal = await self._terminals.adopt(saved.terminal)
        if terminal is None:
            log.info("the provider of the last runner is gone")
            self._paths.process.unlink(missing_ok=True)
            return None
        log.info("adopted the running provider (pid %d)", terminal.process.pid)
        spec = self._spec(saved.control, saved.session_id)
        lost = self._control.endpoint.secret != saved.control.secret
        return Launched(
            spec,
            saved.plan(),
            terminal,
            adopted=True,
            started_at=saved.started_at,
            deaf=lost and self._provider.capabilities.hooks,
            stolen=lost and processes.listening_user(saved.control.port) != os.getuid(),
            unheld=saved.terminal.keeper is None,
        )

    async def launch(self, *, resume: bool = True) -> Launched:
        """Start the program, on the agent's last session unless that is lost or not wanted."""
        endpoint = self._control.new_process()
        spec = self._spec(endpoint, self._session_to_resume() if resume else None)
        if spec.isolated_home and not self._can_isolate:
            raise ProviderUnsupported(f"{self._provider.name} has no isolated home", hint="start it without one")
        self._provider.check(spec)
        plan = self._provider.plan(spec)
        for note in plan.notes:
            log.warning("%s", note)
        environment.write_inside(self._paths, plan.programs, spec.cwd)
        if crippled := environment.unrunnable(self._paths.bin):
            log.error("%s; set %s to another folder", crippled, HOME_VARIABLE)
        width, height = self._options.screen or (WIDTH, HEIGHT)
        started_at = time.time()
        terminal = await self._terminals.open(
            TerminalSpec(
                argv=plan.argv,
                env=plan.env,
                cwd=plan.cwd,
                run_dir=private_dir(self._paths.run / endpoint.provider_session_id),
                name=self._options.tmux_session or self._options.agent_id,
                title=plan.title,
                width=width,
                height=height,
                listener=self._control.listener,
            )
        )
        launched = Launched(
            spec,
            plan,
            terminal,
            adopted=False,
            started_at=started_at,
            lost=self._lost(spec, plan),
            crippled=crippled,
        )
        await self._keep(launched)
        self._launches += 1
        log.info("started %s (pid %d)%s", plan.argv[0], terminal.process.pid, ", resumed" if plan.resumed else "")
        return launched

    def spoken_in(self, session_id: str) -> None:
        """Note that something was said in a session."""
        if self._journal.fact(SPOKEN_FACT) != session_id:
            self._journal.remember(SPOKEN_FACT, session_id)

    def session_is(self, session_id: str) -> None:
        """Note the session that the process has now, for every later start."""
        self._journal.remember(SESSION_FACT, session_id)
        saved = record.load(self._paths.process)
        if saved is not None and saved.session_id != session_id:
            try:
                record.save(self._paths.process, record.with_session(saved, session_id))
            except OSError as error:  # the journal has it, and it is written again when there is room
                log.warning("%s cannot be written: %s", self._paths.process, error.strerror)

    def forget(self, launched: Launched) -> None:
        """The process is dead and its terminal closed: nobody is to adopt it."""
        self._paths.process.unlink(missing_ok=True)
        shutil.rmtree(launched.terminal.saved.run_dir, ignore_errors=True)

    def _lost(self, spec: LaunchSpec, plan: LaunchPlan) -> str | None:
        """Return the session that the program cannot go on with, where that is a loss."""
        wanted = spec.resume_session
        if wanted is None or plan.resumed:
            return None
        asked_for = not self._launches and wanted == self._options.resume
        return wanted if asked_for or wanted == self._journal.fact(SPOKEN_FACT) else None

    def _session_to_resume(self) -> str | None:
        if not self._provider.capabilities.resume:
            return None
        if not self._launches and self._options.fresh:
            return None
        if not self._launches and self._options.resume:
            return self._options.resume
        return self._journal.fact(SESSION_FACT)

    @property
    def _can_isolate(self) -> bool:
        return self._provider.capabilities.isolated_home

    def _spec(self, control: ControlEndpoint, resume: str | None) -> LaunchSpec:
        spec, options = self._spec_with_all(control, resume), self._options
        if not options.headless:
            return spec
        own = self._provider.credentials(spec)
        return replace(spec, environ=environment.without_foreign(spec.environ, {*own, *options.env}))

    def _spec_with_all(self, control: ControlEndpoint, resume: str | None) -> LaunchSpec:
        options = self._options
        return LaunchSpec(
            agent_id=options.agent_id,
            runner_id=self._runner_id,
            cwd=options.cwd,
            agent_dir=self._paths.root,
            control=control,
            environ=environment.of_provider(
                self._environ, options, self._runner_id, control, self._paths, self._auth()
            ),
            args=options.args,
            command=options.command,
            model=options.model,
            effort=options.effort,
            approval_mode=options.approval_mode,
            system_prompt_append=options.system_prompt_append,
            headless=options.headless,
            trust_folder=options.trust_folder,
            label=options.label,
            profile=options.profile,
            permission_deadline_s=options.permission_deadline_s,
            resume_session=resume,
            tools=self._tools,
            owed=self._owed,
            isolated_home=options.isolated_home or (options.profile.isolated and self._can_isolate),
            secrets=options.secrets,
            hidden=self._hidden,
        )

    async def _keep(self, launched: Launched) -> None:
        """Note the process for who adopts it; one that cannot be noted is ended: nobody could ever adopt it."""
        try:
            self._save(launched)
        except OSError:
            await launched.terminal.terminate(grace_s=0.0)
            await launched.terminal.close()
            raise

    def _save(self, launched: Launched) -> None:
        saved = ProcessRecord(
            provider=self._provider.name,
            terminal=launched.terminal.saved,
            control=launched.spec.control,
            argv=launched.plan.argv,
            cwd=str(launched.plan.cwd),
            session_id=launched.plan.session_id,
            resumed=launched.plan.resumed,
            started_at=launched.started_at,
        )
        record.save(self._paths.process, saved)
