"""The real Claude Code under the provider: a temporary home, a fake model, a real tmux, a real control server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from relay_runner.config import AgentPaths
from relay_runner.protocol.envelope import render
from relay_runner.protocol.messages import Message, Timing
from relay_runner.providers.base import Event, LaunchPlan, LaunchSpec, Process, ProcessState, Submission
from relay_runner.providers.claude import ClaudeProvider
from relay_runner.providers.claude.dialog import YES, dialog_of
from relay_runner.providers.claude.screen import input_row
from relay_runner.relay.base import Relay
from relay_runner.runner import environment
from relay_runner.runner.control import ControlServer
from relay_runner.terminal.base import Terminal, TerminalSpec
from relay_runner.terminal.tmux import TmuxTerminals
from tests.fake_models.anthropic import FakeAnthropic
from tests.programs import program
from tests.terminals import until

KEY = "sk-ant-fake"
PATIENCE_S = 60.0
E = TypeVar("E", bound=Event)


@pytest.fixture
def model() -> Iterator[FakeAnthropic]:
    """A Messages API of this test."""
    with FakeAnthropic() as fake:
        yield fake


def claude_program() -> Path:
    """Return the pinned program; skip the test where it is not installed."""
    return program("claude-code")


def claude_home(folder: Path) -> Path:
    """Make a home in which Claude Code was set up once, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = {"approved": [KEY[-20:]], "rejected": []}
    (folder / ".claude.json").write_text(json.dumps({"hasCompletedOnboarding": True, "customApiKeyResponses": answers}))
    return folder


def claude_environ(home: Path, model: FakeAnthropic) -> dict[str, str]:
    """Return the whole environment of a Claude Code that talks to the fake model and to nobody else."""
    return {
        "PATH": f"{claude_program().parent}:{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": KEY,
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
    }


async def approve(terminal: Terminal) -> None:
    """Say yes at its dialog as a person does: by the key that the row shows, and again where the key was dropped.

    In the first second of a dialog a digit only marks its row (2.1.332), and the state file tells of a dialog before it
    is drawn.
    """
    digits: list[str] = []

    async def drawn() -> bool:
        dialog = dialog_of(await terminal.capture())
        row = dialog.row(YES) if dialog is not None else None
        if row is not None and row.digit is not None:
            digits.append(row.digit)
        return bool(digits)

    async def gone() -> bool:
        return input_row(await terminal.capture()) is not None

    async with asyncio.timeout(PATIENCE_S):
        await until(drawn)
        while not await gone():
            await terminal.type(digits[0])
            with contextlib.suppress(TimeoutError):
                await until(gone, patience_s=5)


@dataclass
class Rig:
    """One Claude Code with everything around it."""

    provider: ClaudeProvider
    terminals: TmuxTerminals
    control: ControlServer
    spec: LaunchSpec
    plan: LaunchPlan
    terminal: Terminal
    model: FakeAnthropic
    process: Process = field(init=False)
    events: list[Event] = field(default_factory=list)
    _runner: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def run(self, *, adopted: bool = False) -> None:
        """Serve hooks and watch the program, as a runner does, or its successor."""
        await self._runner.enter_async_context(self.control.running())
        connection = self.provider.connect(self.spec, self.plan, self.terminal, self.emit, adopted=adopted)
        self.process = await self._runner.enter_async_context(connection)
        self._runner.enter_context(self.control.serving(self.process))

    async def die(self) -> None:
        """Leave the program alone and its hooks unanswered, as a runner that died."""
        await self._runner.aclose()

    async def adopt(self) -> None:
        """Be the next runner: same port, same secret, another process over the same program."""
        saved = self.control.endpoint
        self.control = ControlServer(cast(Relay, None), self.spec.agent_dir / "control.json", status=lambda: b"{}")
        assert self.control.bind(saved)
        self.events.clear()
        await self.run(adopted=True)
        await self.process.ready()

    def emit(self, event: Event) -> None:
        """Keep every event."""
        self.events.append(event)

    def message(self, body: str, *, operator: bool = False, timing: Timing = Timing.QUEUE) -> Submission:
        """Return a submission of a new message."""
        number, now = next(self._ids), time.time()
        sender = "person:alice" if operator else "agent:bob"
        message = Message(
            id=number,
            sender=sender,
            to="agent:test",
            body=body,
            created_at=now,
            expires_at=now + 3600,
            operator=operator,
            timing=timing,
        )
        nonce = f"nonce{number}x{os.urandom(6).hex()}"
        return Submission(message, nonce, render(message, nonce))

    async def submit(self, submission: Submission) -> str:
        """Submit until it is taken, as the inbox does; return the channel."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                result = await self.process.submit(submission)
                if hasattr(result, "channel"):
                    return str(result.channel)
                assert hasattr(result, "retry_s"), result
                await asyncio.sleep(min(result.retry_s, 0.2))

    async def say(self, body: str, **kwargs: Any) -> Submission:
        """Submit a message and return it."""
        submission = self.message(body, **kwargs)
        await self.submit(submission)
        return submission

    async def event(self, kind: type[E], nonce: str | None = None) -> E:
        """Return the first event of a kind that names the nonce; fail with all events and the screen."""

        def found() -> E | None:
            for event in self.events:
                if isinstance(event, kind) and (nonce is None or nonce in _nonces(event)):
                    return event
            return None

        try:
            await until(lambda: found() is not None, patience_s=PATIENCE_S)
        except TimeoutError:
            screen = (await self.terminal.capture()).tail(30)
            raise AssertionError(f"no {kind.__name__} of {nonce} in {self.events}\n{screen}") from None
        return cast(E, found())

    async def reach(self, state: ProcessState) -> None:
        """Return when the process is in a state; fail with the screen."""
        try:
            await until(lambda: self.process.state is state, patience_s=PATIENCE_S)
        except TimeoutError:
            screen = (await self.terminal.capture()).tail(30)
            raise AssertionError(f"not {state} but {self.process.state}: {self.events}\n{screen}") from None

    def ends(self, nonce: str) -> int:
        """Return how many ended turns carried the nonce."""
        return sum(nonce in _nonces(event) for event in self.events if type(event).__name__ == "TurnEnded")

    async def poller(self) -> int:
        """Return the pid of the connected poller, when there is one."""
        await until(lambda: bool(self.pollers()), patience_s=PATIENCE_S)
        return self.pollers()[0]

    def pollers(self) -> list[int]:
        """Return the pids of the pollers that the program runs."""
        pid = self.terminal.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if _command(int(child)).endswith(b"hook_client.py\0rewake\0")]


@contextlib.asynccontextmanager
async def started(
    tmp_path: Path, terminals: TmuxTerminals, model: FakeAnthropic, *, ready: bool = True, **changes: Any
) -> AsyncIterator[Rig]:
    """Start Claude Code as the supervisor does, watch it, and end it."""
    agent_dir, cwd = tmp_path / "agent", tmp_path / "work"
    for folder in (agent_dir, cwd):
        folder.mkdir(mode=0o700, exist_ok=True)
    environ = changes.pop("environ", None) or claude_environ(claude_home(tmp_path / "home"), model)
    plugin: Path | None = changes.pop("plugin", None)
    settings: str | None = changes.pop("settings", None)
    control = ControlServer(cast(Relay, None), agent_dir / "control.json", status=lambda: b"{}")
    control.bind(None)
    endpoint = control.new_process()
    spec = LaunchSpec(
        agent_id="test",
        runner_id="runner",
        cwd=cwd,
        agent_dir=agent_dir,
        control=endpoint,
        environ={
            **environ,
            "PATH": f"{AgentPaths(agent_dir).bin}:{environ['PATH']}",
            "AGENT_RELAY_URL": endpoint.url,
            "AGENT_RELAY_TOKEN": endpoint.secret,
            "AGENT_RELAY_PROVIDER_SESSION_ID": endpoint.provider_session_id,
            "AGENT_RELAY_CONTEXT_STATE_DIR": str(agent_dir),
        },
        headless=True,
        trust_folder=True,
    )
    spec = replace(spec, **changes)
    provider = ClaudeProvider()
    provider.check(spec)
    plan = provider.plan(spec)
    if plugin is not None:
        argv = list(plan.argv)
        argv[argv.index("--plugin-dir") + 1] = str(plugin)
        plan = replace(plan, argv=tuple(argv))
    if settings is not None:
        file = Path(plan.argv[plan.argv.index("--settings") + 1])
        file.write_text(json.dumps({**json.loads(file.read_text()), **json.loads(settings)}))
    environment.write_programs(AgentPaths(agent_dir).bin, plan.programs)
    run_dir = agent_dir / f"run-{endpoint.provider_session_id}"
    run_dir.mkdir(mode=0o700)
    terminal = await terminals.open(
        TerminalSpec(argv=plan.argv, env=plan.env, cwd=plan.cwd, run_dir=run_dir, name="test")
    )
    rig = Rig(provider, terminals, control, spec, plan, terminal, model)
    try:
        await rig.run()
        if ready:
            await rig.process.ready()
        yield rig
    finally:
        async with asyncio.timeout(30):
            await rig.die()
            await terminal.terminate(grace_s=5)
            await terminal.close()


def plugin_copy(folder: Path, **hook: Any) -> Path:
    """Return a copy of the plugin whose pollers have these fields."""
    from relay_runner.providers.claude.launch import plugin_dir

    shutil.copytree(plugin_dir(), folder)
    file = folder / "hooks" / "hooks.json"
    hooks = json.loads(file.read_text())
    for groups in hooks["hooks"].values():
        for one in (one for group in groups for one in group["hooks"] if one.get("asyncRewake")):
            one.update(hook)
    file.write_text(json.dumps(hooks))
    return folder


def _nonces(event: Event) -> tuple[str, ...]:
    nonce = getattr(event, "nonce", None)
    return (nonce,) if nonce is not None else tuple(getattr(event, "nonces", ()))


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
