"""From what Claude Code tells to what the runner is told: a pure state machine, `now` goes in, events come out.

Three sources, none of which is enough (2.1.197). Hooks say when a prompt goes in (`UserPromptSubmit`) and when the
model is done (`Stop`, `StopFailure`), but an interrupt fires none, and a message steered into a running turn none that
proves anything. The state file says idle, busy, waiting, but not why. The transcript says everything, a little later.

    turn begins   UserPromptSubmit; or the state file stays busy without one (lost hook, /compact, a shell command)
    seen          the UserPromptSubmit that begins a turn; the transcript. In a running turn that hook says only that
                  the program has the text: a paste fires it at Enter, long before the model is shown it, or in the
                  next turn (2.1.332; 2.1.197 fires none)
    turn ends     Stop with no subagent running      completed, with that Stop's last assistant message; one whose
                  or still to report                 report waits in the program's queue goes on with it
                  StopFailure                        failed, with its reason
                  transcript: [Request interrupted   interrupted
                  state file idle, none of these     what the transcript says, or failed, after a short grace
    state         waiting: a dialog is open (state file); busy: a turn, or the state file; else idle

A turn cannot stick: whatever was missed, an idle state file ends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from relay_runner.protocol.envelope import nonces
from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import (
    Event,
    ProcessState,
    Seen,
    StateChanged,
    TurnEnded,
    TurnStarted,
)
from relay_runner.providers.claude import failures
from relay_runner.providers.claude.carried import IDLE_GRACE_S, Carried
from relay_runner.providers.claude.parts import STATE_FILE, OpenTurn, PromptHooks, Session, Subagents
from relay_runner.providers.claude.state_file import BUSY, DIALOG_OPEN, WAITING, Reading
from relay_runner.providers.claude.transcript import TAKEN_BACK, Turn

BUSY_GRACE_S = 1.0
"""How long the state file may be busy without a prompt hook before that counts as a turn of its own."""
NO_ANSWER = "the turn stopped without an answer"
TRANSCRIPT = "transcript"
PEER = "message of another session"
HOLDING = frozenset({"subagent"})
"""Background tasks that hold a turn open; a background shell does not."""


class Tracker:
    """One process's state, session and turns; every call returns the events that follow from it."""

    def __init__(self, *, adopted: bool = False) -> None:
        self.state = ProcessState.STARTING
        self._session = Session()
        self.heard = False
        """Whether any hook arrived."""
        self._carried = Carried()
        self._detail: str | None = None
        self._asks: str | None = None
        """What a dialog asks before the program says anything of itself."""
        self._turn: OpenTurn | None = None
        self._reading: Reading | None = None
        self._doubted: Reading | None = None
        """What the state file says and the screen does not."""
        self._ended_at = float("-inf")
        # An adopted process may have been at work for long: nothing to wait for.
        self._busy_grace_s = 0.0 if adopted else BUSY_GRACE_S
        self.doing: str | None = None
        """The operation of ours that keeps it busy."""
        self._worked_at = float("-inf")
        """When a hook last showed that the model does, or did, something."""
        self._subagents = Subagents()
        self.prompt_hooks = PromptHooks()
        self._events: list[Event] = []

    @property
    def session_id(self) -> str | None:
        """The session that was announced last."""
        return self._session.id

    @property
    def turn(self) -> OpenTurn | None:
        """The turn that is going on."""
        return self._turn

    @property
    def detail(self) -> str | None:
        """The program's own word for the state."""
        return self._detail

    @property
    def started(self) -> bool:
        """Whether the program has said anything of itself yet."""
        return self.heard or self._reading is not None

    def idle_since(self) -> float | None:
        """Return since when the program says that it is idle; None while it does not."""
        reading = self._reading
        return reading.since if reading is not None and reading.idle else None

    def has(self, nonce: str) -> bool:
        """Say whether the program has the message: the model saw it, or it waits in the program's own queue."""
        return self._carried.has(nonce)

    def settled(self, nonce: str) -> TurnEnded | None:
        """Return how the message's turn ended, if that was told; the transcript may not have it yet."""
        return self._carried.settled(nonce)

    def told_at(self, nonce: str) -> float | None:
        """Return when a prompt hook named the message: from then on the program has it."""
        return self._carried.told_at(nonce)

    @property
    def worked_at(self) -> float:
        """When a hook last showed that the model does, or did, something."""
        return self._worked_at

    def turn_of(self, nonces: Iterable[str]) -> Turn | None:
        """Return the turn that carried any of these messages, as far as the transcript tells it."""
        return next(filter(None, map(self._carried.ledger.turn_of, nonces)), None)

    def carries(self, nonce: str) -> bool:
        """Say whether the message belongs to something that still goes on."""
        return nonce in self._carried.loose or (self._turn is not None and nonce in self._turn.nonces)

    # --- what comes in ------------------------------------------------------------------------------------------------

    def hook(self, name: str, payload: Mapping[str, Any], now: float) -> list[Event]:
        """Take one hook call; the caller has fed the transcript up to now."""
        self.heard = True
        source = f"hook:{name}"
        if name not in ("SessionStart", "UserPromptSubmit"):
            self._worked_at = now
        if payload.get("agent_id"):
            self._events.extend(self._subagents.hook(name, payload, source))
        elif name == "SessionStart":
            self._events.extend(self._session.hook(payload, source))
        elif name == "UserPromptSubmit":
            self._prompt(payload, source, now)
        elif name == "Stop":
            self._stop(payload, source, now)
        elif name == "StopFailure":
            self._open(source, now)
            why = failures.reason(payload.get("error"), payload.get("last_assistant_message"))
            self._end(Outcome.FAILED, source, now, reason=why)
        return self._drain(source, now)

    def read(self, reading: Reading | None, now: float) -> list[Event]:
        """Take what the state file says now, changed or not; also the clock's tick."""
        if reading == self._doubted:
            reading = None  # until it says something else, hooks and transcript stand in for it
        self._reading = reading
        if reading is None and self._turn is not None:
            self._check_told(self._turn, now)
        if reading is not None:
            self._events.extend(self._session.read(reading, now))
            if self._turn is None:
                self._check_busy(reading, now)
                if self._turn is None and reading.idle:
                    self._events.extend(self._carried.give_up(reading.since, now, STATE_FILE, NO_ANSWER))
            elif reading.idle and reading.since > self._turn.prompted_at:
                self._check_idle(self._turn, reading, now)
        return self._drain(STATE_FILE, now)

    def lines(self, batch: Iterable[Any], now: float) -> list[Event]:
        """Take what was added to the transcript."""
        for line in batch:
            if isinstance(line, dict) and not line.get("isSidechain"):
                self._subagents.line(line)
                self._begun_by(line)
            for nonce in self._carried.ledger.feed(line):
                self._see(nonce, TRANSCRIPT, prompted=line.get("type") == "user", now=now)
            told, turn = self._carried.ledger.current, self._turn
            interrupted = told is not None and told.outcome is Outcome.INTERRUPTED
            if told is not None and turn is not None and interrupted and told.ended_at >= turn.prompted_at:
                self._end(Outcome.INTERRUPTED, TRANSCRIPT, now, reason=told.reason)
        return self._drain(TRANSCRIPT, now)

    def asks(self, question: str | None, now: float) -> list[Event]:
        """Take what a dialog on the screen asks while the program starts; None: there is no dialog."""
        self._asks = question
        return self._drain("screen", now)

    def doubt(self, now: float) -> list[Event]:
        """Take note that the screen shows no dialog: what the state file says is not believed until it changes."""
        self._doubted, self._reading = self._reading, None
        return self._drain("screen", now)

    def stopping(self) -> None:
        """Take note that Escape is pressed into the turn that goes on."""
        if self._turn is not None:
            self._turn.stopped = True

    def silent(self) -> tuple[str, ...]:
        """Return the messages that go on although the program is idle and nothing said why."""
        reading, turn = self._reading, self._turn
        if reading is None or not reading.idle or (turn is not None and reading.since <= turn.prompted_at):
            return ()
        return (*self._carried.silent(reading.since), *(turn.nonces if turn is not None else ()))

    def take_back(self, now: float) -> list[Event]:
        """End what is silent: an Escape before the model's first word gave the prompt back to the person."""
        if self._turn is not None:
            self._end(Outcome.INTERRUPTED, "screen", now, reason=TAKEN_BACK)
        if self._carried.loose:
            carried = tuple(self._carried.claim_loose())
            self._settle(TurnEnded(Outcome.INTERRUPTED, "screen", carried, None, TAKEN_BACK))
        return self._drain("screen", now)

    def recall(self, batch: Iterable[Any], now: float) -> None:
        """Take the transcript as an earlier runner left it: what ended there is settled through `find`."""
        self._carried.recall(batch, now)

    # --- hooks --------------------------------------------------------------------------------------------------------

    def _prompt(self, payload: Mapping[str, Any], source: str, now: float) -> None:
        text = str(payload.get("prompt") or "")
        found = nonces(text)
        self.prompt_hooks.came()
        self._subagents.prompt(text)
        self._carried.tell(found, now)
        turn = self._turn
        if found and turn is not None and (not turn.paused or payload.get("prompt_id") == turn.id):
            # Several queued prompts go to the model at once, or this one waits for the running turn's end: the
            # transcript says which turn has it, and is the proof.
            return
        new, carried = self._carried.prompt(found)
        if self._turn is None:
            turn_id = str(payload.get("prompt_id") or now)
            self._turn = OpenTurn(turn_id, now, now, carried)
            self._events.append(TurnStarted(turn_id, source, tuple(carried)))
        else:
            self._turn.nonces.extend(carried)  # after a background agent the same turn goes on
        self._turn.paused, self._turn.prompted_at = False, now
        self._events.extend(Seen(nonce, source) for nonce in new)

    def ending(self, payload: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the messages whose turn this Stop would end."""
        turn = self._turn
        held = _holding(payload) or self._subagents.unreported
        return tuple(turn.nonces) if turn is not None and not held else ()

    def goes_on(self, now: float) -> None:
        """Take note that a Stop did not end the turn: the model is given more, and the next one does."""
        if self._turn is not None:
            self._turn.prompted_at = now

    def _stop(self, payload: Mapping[str, Any], source: str, now: float) -> None:
        turn = self._open(source, now)
        turn.result = payload.get("last_assistant_message")
        running = _holding(payload)
        turn.paused = bool(running) or self._subagents.unreported
        self._events.extend(self._subagents.only(running, source))
        if not turn.paused:
            self._end(Outcome.COMPLETED, source, now, result=turn.result)

    # --- state file ---------------------------------------------------------------------------------------------------

    def _check_busy(self, reading: Reading, now: float) -> None:
        """Open a turn that no hook told of."""
        working = reading.status in (BUSY, WAITING) and reading.waiting_for != DIALOG_OPEN
        if working and now - max(reading.since, self._ended_at) >= self._busy_grace_s:
            turn = self._open(STATE_FILE, now)
            turn.prompted_at = reading.since
        self._busy_grace_s = BUSY_GRACE_S

    def _check_told(self, turn: OpenTurn, now: float) -> bool:
        """End a turn that the transcript tells as ended; without hook and state file nothing else does."""
        told = self._carried.ledger.current
        if told is None or told.outcome is None or told.ended_at < turn.prompted_at:
            return False
        result = told.result if told.outcome is Outcome.COMPLETED else None
        self._end(told.outcome, TRANSCRIPT, now, result=result, reason=told.reason)
        return True

    def _check_idle(self, turn: OpenTurn, reading: Reading, now: float) -> None:
        """End a turn that no Stop ended."""
        if self._check_told(turn, now) or now - reading.since < IDLE_GRACE_S:
            return
        told = self._carried.ledger.current
        found = told.cut_off(NO_ANSWER) if told is not None and not told.ended else None
        if turn.paused or not turn.nonces:
            self._end(Outcome.COMPLETED, STATE_FILE, now, result=turn.result)
        elif found is not None and found.outcome is Outcome.COMPLETED:
            self._end(Outcome.COMPLETED, STATE_FILE, now, result=found.result)
        elif turn.stopped:  # its line in the transcript can be late on a busy machine
            self._end(Outcome.INTERRUPTED, STATE_FILE, now)
        else:
            self._end(Outcome.FAILED, STATE_FILE, now, reason=found.reason if found is not None else NO_ANSWER)

    def _begun_by(self, line: Mapping[str, Any]) -> None:
        """Note that a prompt came from another session of the program, past the relay (2.1.332)."""
        origin = line.get("origin")
        if self._turn is not None and line.get("type") == "user" and isinstance(origin, Mapping):
            self._turn.peer = origin.get("kind") == "peer" and not self._turn.nonces

    # --- turns --------------------------------------------------------------------------------------------------------

    def _open(self, source: str, now: float) -> OpenTurn:
        """Return the turn that goes on; make it up when its beginning was missed."""
        if self._turn is None:
            self._turn = OpenTurn(f"{self.session_id}:{now}", now, now, self._carried.claim_loose(), made_up=True)
            self._events.append(TurnStarted(self._turn.id, source, tuple(self._turn.nonces)))
        return self._turn

    def _end(
        self, outcome: Outcome, source: str, now: float, *, result: str | None = None, reason: str | None = None
    ) -> None:
        turn, self._turn = self._turn, None
        assert turn is not None
        self._ended_at = now
        self._events.extend(self._subagents.over(source))
        self._settle(TurnEnded(outcome, source, tuple(turn.nonces), result, reason))

    def _settle(self, ended: TurnEnded) -> None:
        self._events.append(self._carried.settle(ended))

    def _see(self, nonce: str, source: str, *, prompted: bool, now: float) -> None:
        if self._carried.see(nonce):
            if prompted:
                self.prompt_hooks.shown(nonce, now)
            self._events.append(Seen(nonce, source))
            turn = self._turn
            if turn is not None and turn.made_up:
                turn.nonces.append(nonce)
            else:
                self._carried.loosen(nonce, now)

    # --- what goes out ------------------------------------------------------------------------------------------------

    def _drain(self, source: str, now: float) -> list[Event]:
        self._events.extend(self._carried.settle_loose())
        state, detail = self._now()
        if (state, detail) != (self.state, self._detail):
            self.state, self._detail = state, detail
            self._events.append(StateChanged(state, source, detail))
        events, self._events = self._events, []
        return events

    def _now(self) -> tuple[ProcessState, str | None]:
        reading = self._reading
        if reading is not None and reading.status == WAITING:
            return ProcessState.WAITING, reading.waiting_for
        if self._turn is not None:
            why = "background agent" if self._turn.paused else PEER if self._turn.peer else self.doing
            return ProcessState.BUSY, why
        if reading is not None and reading.status == BUSY:
            return ProcessState.BUSY, self.doing
        if not self.started:
            return (ProcessState.WAITING, self._asks) if self._asks else (ProcessState.STARTING, None)
        return ProcessState.IDLE, "shell" if reading is not None and reading.status == "shell" else None


def _holding(payload: Mapping[str, Any]) -> set[str]:
    """Return the background agents that hold a turn open after its Stop."""
    tasks = payload.get("background_tasks") or ()
    return {str(one.get("id")) for one in tasks if one.get("type") in HOLDING and one.get("status") == "running"}
