"""Who this runner is, as others see it: the hello and its meta, and the info file."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from relay_runner import __version__
from relay_runner.protocol.agents import Status
from relay_runner.protocol.control import Attach, ControlEndpoint, RunnerInfo
from relay_runner.protocol.frames import Hello
from relay_runner.protocol.profiles import Projected
from relay_runner.protocol.wire import PROTOCOL_VERSION
from relay_runner.providers.base import Capabilities
from relay_runner.runner.abilities import abilities, lifecycle
from relay_runner.runner.options import RunnerOptions
from relay_runner.terminal.base import HEIGHT, WIDTH, Terminal


class Identity:
    """One life of one runner: its ids, its options, and what its provider told about itself."""

    def __init__(
        self,
        options: RunnerOptions,
        capabilities: Capabilities | None = None,
        projected: Sequence[Projected] = (),
    ) -> None:
        self._options = options
        self._projected = projected
        self._capabilities = capabilities or Capabilities()
        self.agent_id = options.agent_id
        self.runner_id = uuid.uuid4().hex
        self.instance_id = uuid.uuid4().hex
        self.started_at = time.time()
        self._learnt: dict[str, Any] = {}
        self._terminal: dict[str, Any] = {}
        self.attach: Attach | None = None
        """How its terminal is shown; known from its opening on."""

    def learn(self, values: Mapping[str, Any]) -> None:
        """Remember what the provider told: model, effort, version, context use."""
        self._learnt.update({name: value for name, value in values.items() if value is not None})

    def hello(self, status: Status) -> Hello:
        """Return the first frame on the bus."""
        options = self._options
        own = (options.provider, *(("headless",) if options.headless else ()))
        return Hello(
            agent_id=options.agent_id,
            instance_id=self.instance_id,
            runner_id=self.runner_id,
            provider=options.provider,
            machine=socket.gethostname(),
            version=__version__,
            label=options.label,
            broad=options.profile.relay.broad,
            tags=tuple(dict.fromkeys((*options.tags, *own))),
            capabilities=options.capabilities,
            status=status,
            meta=self._meta(status),
        )

    def info(
        self, control: ControlEndpoint, terminal: Terminal | None, session_id: str | None, attach: tuple[str, ...] = ()
    ) -> RunnerInfo:
        """Return what the info file says; the terminal is known from its opening on."""
        saved = terminal.saved if terminal else None
        if saved is not None:
            self._terminal = {"tmuxSession": saved.session, "tmuxSocket": saved.socket}
            columns, rows = self._options.screen or (WIDTH, HEIGHT)
            self.attach = Attach(
                kind=saved.kind,
                machine=socket.gethostname(),
                session=saved.session,
                socket=saved.socket,
                columns=columns,
                rows=rows,
                command=attach,
            )
        return RunnerInfo(
            agent_id=self._options.agent_id,
            runner_id=self.runner_id,
            instance_id=self.instance_id,
            provider=self._options.provider,
            control_url=control.url,
            pid=os.getpid(),
            started_at=self.started_at,
            cwd=str(self._options.cwd),
            tmux_session=saved.session if saved else None,
            tmux_socket=saved.socket if saved else None,
            provider_pid=terminal.process.pid if terminal else None,
            session_id=session_id,
            attach=attach,
        )

    def _mode(self) -> str:
        """Return the approval mode that is in force: it may have been changed since the start."""
        return str(self._learnt.get("approvalMode") or self._options.approval_mode)

    def _meta(self, status: Status) -> dict[str, Any]:
        options = self._options
        meta: dict[str, Any] = {
            "runnerVersion": __version__,
            "protocolVersion": PROTOCOL_VERSION,
            "runnerManaged": True,
            "runnerId": self.runner_id,
            "pid": os.getpid(),
            "startedAt": self.started_at,
            "provider": options.provider,
            "cwd": str(options.cwd),
            "model": options.model,
            "effort": options.effort,
            "approvalMode": options.approval_mode,
            "profile": self._profile(),
            "headless": options.headless,
            "label": options.label,
            "rig": options.rig,
            "policyName": options.policy_name,
            "spawnRequestId": options.spawn_request_id,
            "automationId": options.automation_id,
            "automationRunId": options.automation_run_id,
            "workspace": dict(options.workspace),
            "workspaceMode": options.workspace.get("mode"),
            "terminal": self._told_of_terminal(),
            "lifecycleCapabilities": lifecycle(self._capabilities),
            "providerCapabilities": abilities(self._capabilities, self._mode(), "context" in self._learnt),
            **self._terminal,
            **self._learnt,
        }
        if (auth := status.auth) is not None:
            meta["auth"] = {"profileId": auth.profile_id, "jti": auth.jti, "expiresAt": auth.expires_at}
            meta["rootTokenFallback"] = auth.root_token_fallback or None
        return {name: value for name, value in meta.items() if value not in (None, {}, "")}

    def _told_of_terminal(self) -> dict[str, Any] | None:
        """Return how its terminal is shown, without the command line: that is for those who may run it here."""
        if self.attach is None:
            return None
        return {name: value for name, value in msgspec.to_builtins(self.attach).items() if name != "command"}

    def _profile(self) -> dict[str, Any]:
        """Return the profile's name and what became of each thing that it asks for; empty without one."""
        profile = self._options.profile
        if not profile.name:
            return {}
        return {
            "name": profile.name,
            "home": profile.home,
            "projection": [msgspec.to_builtins(one) for one in self._projected],
        }
