"""What the provider contract suite needs to know of a provider: how to start it, and how to make it do things.

A *rig* is one provider in one folder, for one test. `CASES` maps names to functions that open a rig:

    @asynccontextmanager
    async def my_rig(folder: Path, sockets: Path) -> AsyncIterator[Rig]: ...

    CASES["mine"] = my_rig

The suite starts programs in real terminals through `launch`, watches them through `connected`, and leaves and adopts
them as a crashed runner's successor would. A rig whose provider calls hooks overrides `serving`, which is entered
around every watched process and routes its hook calls to it.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from relay_runner.config import AgentPaths, write_private
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.envelope import render
from relay_runner.protocol.messages import Message
from relay_runner.protocol.wire import encode
from relay_runner.providers.base import (
    Event,
    Held,
    LaunchPlan,
    LaunchSpec,
    Process,
    Provider,
    Seen,
    Submission,
    SubmitResult,
    TurnEnded,
)
from relay_runner.providers.claude import ClaudeProvider
from relay_runner.providers.codex import CodexProvider
from relay_runner.providers.demo import DemoProvider, transcript
from relay_runner.providers.generic import GenericProvider
from relay_runner.providers.tail import scan
from relay_runner.relay.base import Relay
from relay_runner.runner import environment
from relay_runner.runner.control import ControlServer
from relay_runner.terminal.base import Terminal, Terminals, TerminalSpec
from relay_runner.terminal.tmux import TmuxTerminals
from tests import claude, codex
from tests.fake_models.anthropic import FakeAnthropic
from tests.fake_models.responses import FakeResponses
from tests.terminals import shown, until

E = TypeVar("E", bound=Event)
_ids = itertools.count(1)


@dataclass
class Rig:
    """One provider in one folder. A body is None where the provider cannot be made to do that; the test is skipped."""

    provider: Provider
    terminals: Terminals
    spec: LaunchSpec
    say: Callable[[str], str]
    """The body that makes the model answer exactly this text."""
    slow: Callable[[float, str], str]
    """The body that makes it work that many seconds and then answer this text."""
    letter: Callable[[str], str]
    """The body that carries any text at all; what the model answers does not matter."""
    taken: Callable[[], list[str]]
    """The bodies that the program took, in order and as it took them; what was taken twice is there twice."""
    fail: str | None = None
    ask: str | None = None
    """Opens a question on the screen."""
    exit7: str | None = None
    """Ends the program with exit code 7."""
    subagent: str | None = None
    approve: str = "y"
    """What a person types to say yes to that question."""
    exact_from_operator: bool = True
    """Whether an operator's words arrive byte for byte; else those of another agent do."""
    repairs: bool = True
    """It presses a swallowed Enter again."""
    recall: str | None = None
    """Makes it answer the context that it was given."""
    prefix: str | None = ""
    """What stands on the input line before a draft; None where the terminal has no input line."""
    answer: Callable[[Running], Awaitable[None]] | None = None
    """Says yes to the question where that is not done by typing `approve` into the terminal."""
    said: Callable[[], list[str]] | None = None
    """What the model said, where the terminal does not show it."""
    responses: FakeResponses | None = None
    """The model itself, where it is a fake Responses API."""
    serving: Callable[[Process], AbstractAsyncContextManager[object]] = field(default=lambda process: nullcontext())
    open_terminals: list[Terminal] = field(default_factory=list)

    async def shows(self, terminal: Terminal, text: str) -> None:
        """Wait until the model said it."""
        if (said := self.said) is None:
            await shown(terminal, text)
        else:
            await until(lambda: text in said())


Case = Callable[[Path, Path], AbstractAsyncContextManager[Rig]]


@dataclass
class Launched:
    """A program in its terminal, watched or not."""

    spec: LaunchSpec
    plan: LaunchPlan
    terminal: Terminal


@dataclass
class Running:
    """A watched program, and everything it said."""

    rig: Rig
    launched: Launched
    process: Process
    events: list[Event]

    @property
    def terminal(self) -> Terminal:
        """Where it draws."""
        return self.launched.terminal

    async def submit(self, body: str) -> tuple[Submission, SubmitResult]:
        """Submit once."""
        one = submission(body)
        return one, await self.process.submit(one)

    async def deliver(self, body: str, *, operator: bool = True) -> Submission:
        """Submit until it is taken, as the runner does; a held message is tried again."""
        one = submission(body, operator=operator)
        results: list[SubmitResult] = []

        async def taken() -> bool:
            results.append(await self.process.submit(one))
            return not isinstance(results[-1], Held)

        await until(taken, patience_s=60)
        return one

    async def event(self, kind: type[E], matching: Callable[[E], bool] = lambda event: True) -> E:
        """Return the first such event, once it came."""
        found: list[E] = []

        def came() -> bool:
            found.extend(event for event in self.events if isinstance(event, kind) and matching(event))
            return bool(found)

        try:
            await until(came, patience_s=60)
        except TimeoutError:
            screen = (await self.terminal.capture()).tail(20)
            raise AssertionError(f"no such {kind.__name__} in {self.events}; the screen:\n{screen}") from None
        return found[0]

    async def seen(self, one: Submission) -> Seen:
        """Return the evidence that the model has it."""
        return await self.event(Seen, lambda event: event.nonce == one.nonce)

    async def ended(self, one: Submission) -> TurnEnded:
        """Return the end of the turn that carried it."""
        return await self.event(TurnEnded, lambda event: one.nonce in event.nonces)


def submission(body: str, *, operator: bool = True) -> Submission:
    """Return a message as the runner hands it over."""
    now = time.time()
    message = Message(
        id=next(_ids),
        sender="person:ann" if operator else "agent:bob",
        to="agent:rig",
        body=body,
        created_at=now,
        expires_at=now + 60,
        operator=operator,
    )
    nonce = secrets.token_urlsafe(12)
    return Submission(message, nonce, render(message, nonce))


async def launch(rig: Rig, **changes: object) -> Launched:
    """Start the program, with a fresh process id as the runner does; `changes` are fields of the launch spec."""
    process_id = secrets.token_hex(8)
    control = msgspec.structs.replace(rig.spec.control, provider_session_id=process_id)
    environ = {**rig.spec.environ, "AGENT_RELAY_PROVIDER_SESSION_ID": process_id}
    spec = replace(rig.spec, control=control, environ=environ, **changes)  # type: ignore[arg-type]
    rig.provider.check(spec)
    plan = rig.provider.plan(spec)
    number = len(rig.open_terminals)
    terminal = await rig.terminals.open(
        TerminalSpec(plan.argv, plan.env, plan.cwd, spec.agent_dir / f"run-{number}", name="rig", title=plan.title)
    )
    rig.open_terminals.append(terminal)
    return Launched(spec, plan, terminal)


@asynccontextmanager
async def connected(rig: Rig, launched: Launched, *, adopted: bool = False) -> AsyncIterator[Running]:
    """Watch the program; it lives on afterwards."""
    events: list[Event] = []
    async with (
        rig.provider.connect(
            launched.spec, launched.plan, launched.terminal, events.append, adopted=adopted
        ) as process,
        rig.serving(process),
    ):
        await process.ready()
        yield Running(rig, launched, process, events)


@asynccontextmanager
async def running(rig: Rig, **changes: object) -> AsyncIterator[Running]:
    """Start and watch."""
    launched = await launch(rig, **changes)
    async with connected(rig, launched) as it:
        yield it


async def adopt(rig: Rig, launched: Launched) -> Launched:
    """Find the program again, as the successor of a crashed runner does."""
    launched.terminal.detach()
    terminal = await rig.terminals.adopt(launched.terminal.saved)
    assert terminal is not None
    rig.open_terminals.append(terminal)
    return Launched(launched.spec, launched.plan, terminal)


@asynccontextmanager
async def _entered(context: AbstractContextManager[None]) -> AsyncIterator[None]:
    with context:
        yield


async def end(rig: Rig) -> None:
    """End whatever the test left."""
    for terminal in reversed(rig.open_terminals):
        if terminal.alive():
            await terminal.terminate(grace_s=1)
        await terminal.close()


def launch_spec(folder: Path, *args: str, **changes: object) -> LaunchSpec:
    """Return how the runner would ask for an agent in `folder`."""
    agent_dir = folder / "agent"
    agent_dir.mkdir(mode=0o700, exist_ok=True)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    environ = {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "AGENT_RELAY_ID": "rig"}
    control = ControlEndpoint(url="http://127.0.0.1:9", port=9, secret="s", provider_session_id="")
    spec = LaunchSpec("rig", "runner", folder, agent_dir, control, environ, args)
    return replace(spec, **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def demo_rig(folder: Path, sockets: Path) -> AsyncIterator[Rig]:
    """The demo agent."""
    spec = launch_spec(folder)

    def taken() -> list[str]:
        prompts: list[str] = []
        for file in sorted((transcript(spec, "x").parent).glob("*.jsonl")):
            prompts += [record["text"] for record in scan(file) if record["type"] == "prompt"]
        return ["\n".join(prompt.split("\n")[1:-1]) for prompt in prompts]

    rig = Rig(
        DemoProvider(), TmuxTerminals(sockets), spec,
        say=lambda text: f"echo {text}", slow=lambda seconds, text: f"slow {seconds} {text}", letter=lambda text: text,
        taken=taken, fail="fail on purpose", ask="ask to delete it", exit7="exit 7", subagent="subagent 0.3 found it",
        recall="recall", prefix="demo> ",
    )  # fmt: skip
    try:
        yield rig
    finally:
        await end(rig)


@asynccontextmanager
async def generic_rig(folder: Path, sockets: Path) -> AsyncIterator[Rig]:
    """A shell: it waits, works, asks and ends like any program, and writes down what it was given."""
    spec = launch_spec(folder, "bash", "--norc", "-i")
    spec = replace(spec, environ={**spec.environ, "PS1": "shell$ ", "HISTFILE": "", "INPUTRC": "/dev/null"})
    got = folder / "got"

    def letter(text: str) -> str:
        return f"cat >>got <<'END-OF-LETTER'\n{text}\nEND-OF-LETTER"

    def taken() -> list[str]:
        text = got.read_text() if got.exists() else ""
        return [letter(text.removesuffix("\n"))] if text else []

    rig = Rig(
        GenericProvider(quiet_s=0.4), TmuxTerminals(sockets), spec,
        say=lambda text: f"echo '{text}'", slow=lambda seconds, text: f"sleep {seconds}; echo '{text}'", letter=letter,
        taken=taken, ask="read -p 'Delete it? [y/n] ' answer", exit7="exit 7", prefix="shell$ ",
    )  # fmt: skip
    try:
        yield rig
    finally:
        await end(rig)


@asynccontextmanager
async def claude_rig(folder: Path, sockets: Path) -> AsyncIterator[Rig]:
    """The real Claude Code, with a fake model and the runner's own control server."""
    with FakeAnthropic() as model:
        environ = claude.claude_environ(claude.claude_home(folder / "home"), model)
        (folder / "work").mkdir()
        spec = launch_spec(folder, cwd=folder / "work", headless=True, trust_folder=True)
        control = ControlServer(cast(Relay, None), spec.agent_dir / "control.json", status=lambda: b"{}")
        control.bind(None)
        inside = {
            "PATH": f"{AgentPaths(spec.agent_dir).bin}:{environ['PATH']}",
            "AGENT_RELAY_CONTEXT_STATE_DIR": str(spec.agent_dir),
        }
        spec = replace(spec, control=control.new_process(), environ={**environ, **inside})

        class Wired(ClaudeProvider):
            """Save where the hooks of the next process post to, and the programs it needs, as the supervisor does."""

            def plan(self, spec: LaunchSpec) -> LaunchPlan:
                control.endpoint = spec.control
                write_private(spec.agent_dir / "control.json", encode(spec.control))
                planned = super().plan(spec)
                environment.write_programs(AgentPaths(spec.agent_dir).bin, planned.programs)
                return planned

        def taken() -> list[str]:
            prompts = model.requests[-1].prompts() if model.requests else []
            found = re.finditer(
                r'<relay-message id="\d+" nonce="([\w-]+)"[^>]*>\n(.*?)\n</relay-message nonce="\1">',
                "\n".join(prompts),
                re.DOTALL,
            )
            return [match[2] for match in found]

        rig = Rig(
            Wired(), TmuxTerminals(sockets), spec,
            say=lambda text: f"SAY:{text}", slow=lambda seconds, text: f"RUN:sleep {seconds}\nSAY:{text}",
            letter=lambda text: text, taken=taken, fail="FAIL:400", ask="RUN:mkdir asked\nSAY:made",
            subagent="TASK:SAY=found\nSAY:it found it", prefix="\u276f\u00a0", exact_from_operator=False,
            answer=lambda it: claude.approve(it.terminal),
            serving=lambda process: _entered(control.serving(process)),
        )  # fmt: skip
        async with control.running():
            try:
                yield rig
            finally:
                await end(rig)


@asynccontextmanager
async def codex_rig(folder: Path, sockets: Path) -> AsyncIterator[Rig]:
    """The real Codex app-server, with a fake model; a person's Codex is another client of it."""
    with FakeResponses() as model:
        (folder / "work").mkdir()
        environ = codex.codex_environ(codex.codex_home(folder / "home", model))
        spec = launch_spec(folder, cwd=folder / "work", headless=True, environ=environ)

        def taken() -> list[str]:
            prompts = model.requests[-1].prompts() if model.requests else []
            found = re.finditer(
                r'<relay-message id="\d+" nonce="([\w-]+)"[^>]*>\n(.*?)\n</relay-message nonce="\1">',
                "\n".join(prompts),
                re.DOTALL,
            )
            return [match[2] for match in found]

        rig = Rig(
            CodexProvider(), TmuxTerminals(sockets), spec,
            say=lambda text: f"SAY:{text}", slow=lambda seconds, text: f"SLOW:{seconds}\nSAY:{text}",
            letter=lambda text: text, taken=taken, fail="FAIL:400", ask="RUN:mkdir asked\nSAY:made", repairs=False,
            prefix=None, answer=lambda it: codex.approve(it.launched.spec), said=lambda: model.said, responses=model,
            recall="RECALL",
        )  # fmt: skip
        try:
            yield rig
        finally:
            await end(rig)


CASES: dict[str, Case] = {"demo": demo_rig, "generic": generic_rig, "claude": claude_rig, "codex": codex_rig}
