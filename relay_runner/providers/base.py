"""What the runner asks of a provider, and what a provider tells the runner.

A `Provider` knows how to start one kind of program. A `Process` is one running program under this runner: it takes
submissions and reports what happens as events. The law between them:

* `Process.submit` puts a message in **at most once**. It returns `Submitted` when the message entered the program (or
  is in the hands of the program's own hook), `Held` when provably nothing entered and it should be tried later, raises
  `ProviderRefused` when provably nothing entered and the try failed, and returns `Uncertain` when nobody can know.
  It never tries a second channel unless the first provably took nothing.
* `Seen` is emitted only on the provider's own evidence. `TurnEnded` names the nonces that its turn carried.
* After a crash of the runner, a new `Process` over the same program is asked by `find` what its records say of a nonce.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from relay_runner.protocol.agents import Context
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.messages import Message, Outcome, Timing
from relay_runner.protocol.permissions import PERMISSION_DEADLINE_S, Decision, Question
from relay_runner.protocol.profiles import NO_PROFILE, Profile, Projected
from relay_runner.protocol.usage import Usage
from relay_runner.terminal.base import ExitStatus, Screen, Terminal

# --- what a provider can do -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this kind of provider can do; the runner asks here and never by the provider's name."""

    evidence: bool = False
    """It can prove that the model saw a message. Without it a delivery ends at `submitted`, `unproven`."""
    results: bool = False
    """It tells a turn's final text."""
    steer: bool = False
    interrupt: bool = False
    compact: bool = False
    clear: bool = False
    """It can begin a new, empty session."""
    inject: bool = False
    """It takes words as system context, without a turn of their own."""
    tokens: bool = False
    """It tells how many tokens a turn used."""
    cost: bool = False
    """It tells what a turn cost in money."""
    resume: bool = False
    """A new process can go on with an old session."""
    subagents: bool = False
    permissions: bool = False
    """It asks permission questions that can be answered from elsewhere: `PermissionAsked`, `Process.answer`."""
    approval_modes: frozenset[str] = frozenset({"ask"})
    grace_s: float = 5.0
    """How long its program gets from TERM to KILL where nobody says otherwise."""
    hooks: bool = False
    """It calls the control server's `/hooks/{name}`."""
    viewer: bool = False
    """A person sees it by a program of its own (`Process.viewer`), not by what its terminal shows."""
    isolated_home: bool = False
    """It can have a home of its own instead of the user's."""
    session_files: bool = True
    """The model may read and write files."""
    session_shell: bool = True
    """The model may run commands."""
    read_only_shell: bool = False
    """In the mode `read-only` it still may, in a sandbox that lets them write nothing."""


# --- tools ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tool:
    """One of the relay's verbs, as a model is offered it."""

    name: str
    description: str
    schema: Mapping[str, Any]
    """The JSON schema of its arguments: an object."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model calls a tool."""

    key: str
    """Unique over all sessions; the same key again is the same call, and is done once."""
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model is told of its call."""

    text: str
    success: bool = True


class Tools(Protocol):
    """The agent's own verbs on its relay, for a provider that can offer tools to its model."""

    @property
    def offered(self) -> tuple[Tool, ...]:
        """What there is."""
        ...

    async def call(self, call: ToolCall) -> ToolResult:
        """Do one, at most once whatever is killed meanwhile; never raises for what the model or the relay did wrong.

        May be cancelled; the same call then comes again.
        """
        ...


Owed = Callable[[Sequence[str]], Awaitable[str | None]]
"""Takes the nonces of the turn that is about to end; returns what is to be put to the model before it may end, or None.

Asked at most once for a turn, and only by a provider that can add to a turn which is about to end; others leave it.
"""


async def nothing_owed(nonces: Sequence[str]) -> None:
    """Say that nothing is owed."""


# --- starting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything a provider may need to know to start its program."""

    agent_id: str
    runner_id: str
    cwd: Path
    agent_dir: Path
    """`agents/<id>` in the state folder, 0700: rendered settings go here, 0600."""
    control: ControlEndpoint
    environ: Mapping[str, str]
    """The scrubbed environment it inherits, with `AGENT_RELAY_*` and the private bin folder first on PATH."""
    args: tuple[str, ...] = ()
    """What the person gave after `--`: the provider's arguments, or for `generic` the whole command."""
    command: tuple[str, ...] = ()
    """Overrides the program itself (provider config)."""
    model: str | None = None
    effort: str | None = None
    approval_mode: str = "ask"
    system_prompt_append: str | None = None
    headless: bool = False
    trust_folder: bool = False
    label: str | None = None
    unreachable_s: float = 120.0
    """How long a turn may do nothing but try to reach its model, where the program itself would try for ever."""
    profile: Profile = NO_PROFILE
    permission_deadline_s: float = PERMISSION_DEADLINE_S
    """How long the runner waits for an answer from elsewhere: a hook that waits with it has to wait longer."""
    resume_session: str | None = None
    """Go on with this session; None starts a fresh one."""
    owed: Owed = nothing_owed
    """What is still owed when a turn is about to end."""
    tools: Tools | None = None
    """What the model may be offered as tools, where the provider can do that."""
    isolated_home: bool = False
    """Keep the program's settings, log-in and sessions in the agent's folder, apart from the user's."""
    secrets: Path | None = None
    """Where an isolated home's log-in and settings are copied from; None: from the user's own. Only read."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """How to start the program: a pure value, with every file already rendered."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    session_id: str | None = None
    """The session's id where it is known before the start."""
    resumed: bool = False
    title: str = ""
    programs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Commands to put into the private bin folder, first on the program's PATH: name -> argv."""
    notes: tuple[str, ...] = ()
    """Lines for a person: what was not applied, and why."""


# --- submitting -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submission:
    """One message to put in, once."""

    message: Message
    nonce: str
    text: str
    """The whole envelope, sanitised: `protocol.envelope.render(message, nonce)`."""

    @property
    def timing(self) -> Timing:
        """When it is to go in."""
        return self.message.timing

    @property
    def operator(self) -> bool:
        """Whether it may be put as the user's own words."""
        return self.message.operator


@dataclass(frozen=True, slots=True)
class Submitted:
    """The message entered the program by `channel`; evidence follows as `Seen`."""

    channel: str


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing entered; try again after `retry_s`. `reason` is shown to people: `person typing`, `dialog open`."""

    reason: str
    retry_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Uncertain:
    """It may or may not have entered; `find` may still tell. Never submitted again by itself."""

    reason: str


SubmitResult = Submitted | Held | Uncertain


# --- evidence ---------------------------------------------------------------------------------------------------------


class TurnState(StrEnum):
    """What the records say of the turn that carried a message."""

    NONE = "none"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Limit:
    """The model's side takes no more work for a while: a rate limit or a usage limit."""

    reason: str
    """One line in the provider's words."""
    until: float | None = None
    """When it ends, epoch seconds, where the provider told."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the provider's own records say of one nonce."""

    seen: bool
    source: str | None = None
    turn: TurnState = TurnState.NONE
    outcome: Outcome | None = None
    result: str | None = None
    reason: str | None = None
    limit: Limit | None = None
    """The turn failed for this limit; see `TurnEnded.limit`."""
    usage: Usage | None = None


NOT_FOUND = Evidence(seen=False)


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The program has a session (at start, or a new one after a clear)."""

    session_id: str
    source: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The session that was to be gone on with does not exist any more; what follows is in a new one."""

    session_id: str


class ProcessState(StrEnum):
    """Whether the program would work on a new message at once."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    WAITING = "waiting"
    """A dialog or a permission question is open: nothing may be typed."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The program became idle, busy or waiting; `source` names the evidence, `detail` is the provider's own word."""

    state: ProcessState
    source: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The model has the message with this nonce; `evidence` is where that is known from."""

    nonce: str
    evidence: str


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A turn began, by whomever."""

    turn_id: str
    source: str
    nonces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """A turn ended with everything that belongs to it (no subagent runs any more)."""

    outcome: Outcome
    source: str
    nonces: tuple[str, ...] = ()
    """The messages that this turn carried; a person's own turn carries none."""
    result: str | None = None
    reason: str | None = None
    """Why it failed, in one line; or the kind of error."""
    limit: Limit | None = None
    """It failed for this limit: what it carried is continued afterwards, never submitted again."""
    usage: Usage | None = None
    """What it cost; a turn that carried several messages is put on the first one's account."""


@dataclass(frozen=True, slots=True)
class SubagentStarted:
    """A subagent works under the main turn."""

    id: str
    source: str
    role: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class SubagentEnded:
    """A subagent is done; None means all of them."""

    id: str | None
    source: str


@dataclass(frozen=True, slots=True)
class PermissionAsked:
    """The program asks for a permission; the same id again (after a reconnect) is the same question.

    What an adopted program still asks is told again, under the id that it had, with what can be answered now.
    """

    id: str
    """Unique over all sessions and processes."""
    kind: str
    """See `protocol.permissions.NewPermission.kind`."""
    title: str
    source: str
    detail: str | None = None
    decisions: tuple[Decision, ...] = (Decision.APPROVE, Decision.DENY)
    questions: tuple[Question, ...] = ()
    note: str | None = None
    """For people; `answer at the terminal` where no answer from elsewhere can be put in."""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PermissionClosed:
    """A question is answered or withdrawn, by whomever; also after an answer of ours went in."""

    id: str
    source: str
    answered: bool = True
    """False: nobody answered, it is asked no more (interrupted, ended)."""
    decision: Decision | None = None
    """What was answered, where that is known."""


@dataclass(frozen=True, slots=True)
class Limited:
    """Outside of a turn's end: the model's side is limited (until when), or None: it takes work again."""

    limit: Limit | None


@dataclass(frozen=True, slots=True)
class ContextUsed:
    """How full the model's context window is now."""

    context: Context


@dataclass(frozen=True, slots=True)
class Degraded:
    """Part of the evidence is missing (hooks do not arrive, say); None means whole again."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the provider told about itself: model, effort, version."""

    values: Mapping[str, Any] = field(default_factory=dict)


Event = (
    SessionStarted
    | SessionLost
    | StateChanged
    | Seen
    | TurnStarted
    | TurnEnded
    | SubagentStarted
    | SubagentEnded
    | PermissionAsked
    | PermissionClosed
    | Limited
    | ContextUsed
    | Degraded
    | Learnt
)
Emit = Callable[[Event], None]
"""Takes an event at once and never blocks or raises; called on the event loop's thread."""


# --- permissions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody elsewhere answered to a permission."""

    decision: Decision
    reason: str | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    """By question id: a text, or a list of them."""


# --- hooks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HookCall:
    """One call of a hook at the control server, already authenticated and of this very process."""

    name: str
    payload: Mapping[str, Any]
    gone: asyncio.Event
    """Set when the caller hung up while it was still waiting for the answer."""


@dataclass(frozen=True, slots=True)
class HookReply:
    """What to answer: a JSON object, or None for 204."""

    body: Mapping[str, Any] | None = None
    status: int = 200


# --- the two interfaces -----------------------------------------------------------------------------------------------


class Process(Protocol):
    """One running program under this runner."""

    @property
    def state(self) -> ProcessState:
        """The state of the last `StateChanged`."""
        ...

    @property
    def viewer(self) -> tuple[str, ...]:
        """The program that shows the session to a person, started for as long as one looks; nothing secret is in it.

        Empty where the terminal itself shows it, and before `ready`.
        """
        ...

    async def ready(self) -> None:
        """Return when messages can go in; raise `ProviderNotReady` or `ProviderExited` with what the screen says.

        In an interactive start a dialog on the screen is the person's to answer, and this waits for it.
        """
        ...

    async def obstacle(self, submission: Submission) -> Held | None:
        """Say what would hold this submission now; nothing is done about it.

        Asked while the relay is being told: `submit`, which follows at once, need not look at the screen once more.
        """
        ...

    async def submit(self, submission: Submission) -> SubmitResult:
        """Put one message in, at most once (see the module's law). Never called twice at a time."""
        ...

    async def find(self, nonce: str) -> Evidence:
        """Ask the provider's own records what became of a nonce."""
        ...

    async def hook(self, call: HookCall) -> HookReply:
        """Answer one hook call; may take as long as the caller waits."""
        ...

    async def interrupt(self) -> None:
        """Stop the running turn; raise `ProviderUnsupported` where that cannot be done."""
        ...

    async def answer(self, permission_id: str, answer: Answer) -> bool:
        """Put an answer to an open permission in; False: it was answered or withdrawn before, or is not known here.

        Raise `ProviderUnsupported` where only the terminal can answer it (any more), `ProviderRefused` where the answer
        does not fit the question. `PermissionClosed` follows in any case when the question is over.
        """
        ...

    async def leave(self, permission_id: str) -> None:
        """Stop waiting for an answer from elsewhere: from now on the program's own dialog asks."""
        ...

    @property
    def operations(self) -> frozenset[str]:
        """The names that `operate` takes now; a provider whose version decides finds out when it is ready."""
        ...

    async def operate(self, action: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do one of the provider's own operations (`compact`, `clear`, `inject` and its others); return its result.

        `inject` is given the text as `content`, and where the orderer told them `reason` and `memoryIds`. Raise
        `ProviderUnsupported` for one that this version lacks, `ProviderRefused` for what cannot be done now.
        """
        ...

    async def quit(self) -> None:
        """Ask the program to end by itself, if it has a way; the terminal ends it by force afterwards."""
        ...

    def explain_exit(self, status: ExitStatus, screen: Screen | None) -> str:
        """Return one line for a person: why the program ended, and what to do."""
        ...


class Provider(Protocol):
    """One kind of coding agent."""

    @property
    def name(self) -> str:
        """The word on the command line."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def project(self, profile: Profile) -> tuple[Projected, ...]:
        """Return what becomes of everything that a profile asks for: applied, partly, ignored, and why."""
        ...

    def credentials(self, spec: LaunchSpec) -> frozenset[str]:
        """Return which variables of the environment hold secrets of this program's own, like its API key."""
        ...

    def check(self, spec: LaunchSpec) -> None:
        """Raise `ProviderNotFound`, `ProviderNotReady` or `ProviderUnsupported` for what is known before a start."""
        ...

    def plan(self, spec: LaunchSpec) -> LaunchPlan:
        """Render the settings into `spec.agent_dir` and return how to start the program."""
        ...

    def lost_session(self, plan: LaunchPlan, screen: Screen | None) -> bool:
        """Say whether a program that ended did so because the session it was to resume does not exist any more."""
        ...

    def connect(
        self, spec: LaunchSpec, plan: LaunchPlan, terminal: Terminal, emit: Emit, *, adopted: bool
    ) -> AbstractAsyncContextManager[Process]:
        """Watch the program in `terminal`; leaving the context stops watching and leaves the program alone.

        `adopted` says that the program was started by an earlier runner: `plan` is the one saved then, hooks that fired
        meanwhile are lost, and the first `StateChanged` comes from records, not from hooks.
        """
        ...
