"""From what the app-server notifies to what the runner is told: a pure state machine, `now` goes in, events come out.

    turn begins   turn/started, or the answer to our turn/start
    seen          the userMessage item with our nonce as its client id
    turn ends     turn/completed, by its status; where it is lost, an idle thread and the listed turns say it
    state         waiting: the thread's flags; busy: an open turn or an active thread; else idle

A thread is told idle a moment before its turn's end is (0.169.0), so an open turn counts as busy until its end. A turn
that completed while sub-agents of it still run has ended when they have: until then the agent is busy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from relay_runner.protocol.envelope import sanitise_line
from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.usage import total
from relay_runner.providers.base import (
    Event,
    Evidence,
    ProcessState,
    Seen,
    StateChanged,
    TurnEnded,
    TurnStarted,
    TurnState,
)
from relay_runner.providers.codex import failures, history, metering
from relay_runner.providers.codex.metering import Meter, Windows
from relay_runner.providers.codex.status import Status
from relay_runner.providers.codex.subagents import SubAgents
from relay_runner.providers.codex.window import Window

KEPT_ENDS = 200
SEEN_BY = "item:userMessage"
ENDED_BY = "turn/completed"


@dataclass(slots=True)
class OpenTurn:
    """The turn that is going on."""

    id: str
    nonces: list[str] = field(default_factory=list)
    prompts: int = 0
    """How many messages it was given, by whomever."""
    ours: bool = False
    """It was begun by our turn/start: it is about to be given a message."""
    said: list[Mapping[str, Any]] = field(default_factory=list)
    """What the model said, item by item."""
    error: Mapping[str, Any] | None = None
    """The structured error that came before its end, which may say less."""
    retried: Mapping[str, Any] | None = None
    """The error that it tries again after."""
    troubled_at: float | None = None
    """Since when it does nothing but try again."""
    given_up: str | None = None


class Tracker:
    """One thread's state and turns; every call returns the events that follow from it."""

    def __init__(self, unreachable_s: float = 120.0) -> None:
        """`unreachable_s` is how long a turn may do nothing but try again: without a network it would for ever."""
        self.state = ProcessState.STARTING
        self._unreachable_s = unreachable_s
        self._meter = Meter()
        self._windows = Windows()
        self.turn: OpenTurn | None = None
        self.agents = SubAgents()
        self._with_agents: TurnEnded | None = None
        """The end of a turn whose sub-agents still run."""
        self.status = Status()
        self._thread_id = ""
        self._seen: deque[str] = deque(maxlen=KEPT_ENDS)
        self._ended: deque[str] = deque(maxlen=KEPT_ENDS)
        self._events: list[Event] = []
        self._window = Window()

    def fresh(self, now: float) -> list[Event]:
        """Take note that nothing was said in this thread yet."""
        return self._window.fresh(now)

    def joined(self, thread: Mapping[str, Any], turns: list[dict[str, Any]], now: float) -> list[Event]:
        """Take in a thread that was started, resumed or joined again, with its newest turns, newest first."""
        self.status.joined(thread.get("status"), now)
        self._thread_id = str(thread.get("id"))
        if not turns:
            self._meter.begin(self._thread_id)
        newest = turns[0] if turns else {}
        if self.turn is not None:
            self._end_from(turns, self.turn)
        known = (*self._ended, self.turn.id) if self.turn is not None else tuple(self._ended)
        if newest.get("status") == history.RUNNING and newest["id"] not in known:
            self._end_with_agents()
            self.turn = OpenTurn(str(newest["id"]), list(history.nonces(newest)))
            self.turn.said = history.items(newest, "agentMessage")
            self.turn.prompts = len(history.items(newest, "userMessage"))
            self._seen.extend(self.turn.nonces)
            self._events.append(TurnStarted(self.turn.id, history.SOURCE, tuple(self.turn.nonces)))
        return self._told("thread")

    def stands(self, thread_id: str, total: Any) -> None:
        """Take note of what a thread had used before."""
        self._meter.stands(thread_id, total)

    def started(self, turn_id: str) -> list[Event]:
        """Take in the answer to our own turn/start."""
        self._open(turn_id, "turn/start")
        if self.turn is not None and self.turn.id == turn_id:
            self.turn.ours = True
        return self._told("turn/start")

    def notice(self, method: str, params: Mapping[str, Any], now: float) -> list[Event]:
        """Take in one notification about the thread."""
        self.status.heard(now)
        match method:
            case "thread/status/changed":
                self.status.told(params.get("status"), now)
            case "thread/closed":
                self.status.unloaded = True
            case "turn/started":
                self._open(str(params["turn"]["id"]), method)
            case "item/started" | "item/completed":
                self._item(method, params, now)
            case "error":
                self._error(params, now)
            case "turn/completed":
                self._completed(params["turn"], now)
            case metering.TOKENS:
                self._meter.read(self._thread_id, params.get("tokenUsage"), works=self.turn is not None)
                self._events += self._window.usage(params.get("tokenUsage"), now)
        if method.startswith("item/") and self.turn is not None:
            self.turn.troubled_at = self.turn.error = None
        return self._told(method)

    def elsewhere(self, thread_id: str, method: str, params: Mapping[str, Any], now: float) -> list[Event]:
        """Take in one notification about another thread: it may be a sub-agent's."""
        self._events += self.agents.notice(thread_id, method, params, now)
        if method == metering.TOKENS and self.agents.label(thread_id) is not None:
            self._meter.begin(thread_id)
            self._meter.read(thread_id, params.get("tokenUsage"))
        if self.agents.label(thread_id) is not None and isinstance(item := params.get("item"), dict):
            self._events += self.agents.item(item, now)
        return self._told(method)

    def account(self, method: str, params: Mapping[str, Any]) -> None:
        """Take in one notification about the account."""
        if method == metering.LIMITS:
            self._windows.read(params)

    def trouble(self, nonce: str, now: float) -> Evidence | None:
        """Return how a message's turn failed, where its program told the error and died before the end."""
        turn = self.turn
        if turn is None or nonce not in turn.nonces or failures.kind(turn.error) is failures.Kind.FAILED:
            return None
        return history.failed("error", turn.error, now, self._windows.full_until(now))

    def looked(self, events: list[Event]) -> list[Event]:
        """Take in what looking at the sub-agents' threads brought."""
        self._events += events
        return self._told(history.SOURCE)

    @property
    def waiting(self) -> bool:
        """Whether it, or a sub-agent, waits for an answer."""
        return bool(self.status.flags or self.agents.flags)

    @property
    def only_agents(self) -> bool:
        """Whether nothing but sub-agents keeps it busy: its own thread would take a turn."""
        return self.turn is None and self.status.kind == "idle" and bool(self.agents.running)

    def carries(self, nonce: str) -> bool:
        """Say whether the open turn carries a message."""
        ending = self._with_agents.nonces if self._with_agents is not None else ()
        return nonce in ending or (self.turn is not None and nonce in self.turn.nonces)

    # --- what the clock says ------------------------------------------------------------------------------------------

    def lost_end(self, now: float) -> OpenTurn | None:
        """Return the open turn when its thread is idle for so long that its end must have been lost."""
        return self.turn if self.status.idle_long(now) else None

    def recover(self, turns: list[dict[str, Any]]) -> list[Event]:
        """End the open turn by what the listed turns say of it."""
        if self.turn is not None:
            self._end_from(turns, self.turn)
        return self._told(history.SOURCE)

    def quiet(self, now: float) -> bool:
        """Say whether it is not idle and says nothing for so long that its thread has to be looked at."""
        return (self.status.active or self.turn is not None) and self.status.quiet(now)

    def looked_at(self, thread: Mapping[str, Any] | None, now: float) -> list[Event]:
        """Take in the thread as it was read: what was told of its status may have been lost; None: it is put away."""
        self.status.read(thread, now)
        return self._told(history.SOURCE)

    def hopeless(self, now: float) -> OpenTurn | None:
        """Return the open turn when it only tries again for too long; its end is a failure then."""
        turn = self.turn
        if turn is None or turn.troubled_at is None or turn.given_up or now - turn.troubled_at < self._unreachable_s:
            return None
        if failures.kind(turn.retried) is not failures.Kind.FAILED:
            return None  # of these it tries only so many times
        after = f"(given up after {self._unreachable_s:g} s)"
        turn.given_up = f"{failures.Kind.TIMEOUT}: {failures.words(turn.retried)} {after}"
        return turn

    # --- inside -------------------------------------------------------------------------------------------------------

    def _open(self, turn_id: str, source: str) -> None:
        if turn_id in self._ended or (self.turn is not None and self.turn.id == turn_id):
            return
        if self.turn is not None and self.turn.nonces:
            return  # a review's own turn inside it (0.169.0 tells another id than the one that ends)
        self._end_with_agents()
        self.turn = OpenTurn(turn_id)
        self.status.begins()
        self._events.append(TurnStarted(turn_id, source))

    def _item(self, method: str, params: Mapping[str, Any], now: float) -> None:
        item = params.get("item")
        if not isinstance(item, dict):
            return
        self._events += self.agents.item(item, now) + self._window.item(method, item, now)
        turn = self.turn if self.turn is not None and self.turn.id == params.get("turnId") else None
        if item.get("type") == "userMessage" and method == "item/started":
            if turn is not None:
                turn.prompts += 1
            self._see(item.get("clientId"), turn)
        elif item.get("type") == "agentMessage" and method == "item/completed" and turn is not None:
            turn.said.append(item)

    def _see(self, nonce: Any, turn: OpenTurn | None) -> None:
        if not isinstance(nonce, str) or nonce in self._seen:
            return
        self._seen.append(nonce)
        if turn is not None:
            turn.nonces.append(nonce)
        self._events.append(Seen(nonce, SEEN_BY))

    def _error(self, params: Mapping[str, Any], now: float) -> None:
        turn, error = self.turn, params.get("error")
        if turn is None or not isinstance(error, dict):
            return
        turn.error = failures.telling(turn.error, error)
        if params.get("willRetry"):
            turn.retried, turn.troubled_at = error, turn.troubled_at or now
            detail = sanitise_line(str(error.get("message") or "trying again"))
            self._events.append(StateChanged(self.state, "error", detail))

    def _completed(self, turn: Mapping[str, Any], now: float) -> None:
        open_turn, id = self.turn, str(turn.get("id"))
        if open_turn is None or (open_turn.id != id and open_turn.nonces):
            self._ended.append(id)
            return
        found = history.of_turn(turn)
        if turn.get("status") == "failed":
            error = failures.telling(open_turn.error, turn.get("error"))
            found = history.failed(ENDED_BY, error, now, self._windows.full_until(now))
        self._end(open_turn, found, ENDED_BY)
        self._ended.append(id)

    def _end_from(self, turns: list[dict[str, Any]], turn: OpenTurn) -> None:
        listed = next((one for one in turns if one.get("id") == turn.id), None)
        if listed is not None:
            found = history.of_turn(listed)
            turn.said = history.items(listed, "agentMessage")
        elif self.status.active:
            return
        else:
            found = Evidence(True, history.SOURCE, TurnState.ENDED, Outcome.INTERRUPTED, None, "the thread forgot it")
        if found.turn is TurnState.ENDED:
            self._end(turn, found, history.SOURCE)

    def _end(self, turn: OpenTurn, found: Evidence, source: str) -> None:
        outcome, reason = found.outcome or Outcome.FAILED, found.reason
        if turn.given_up is not None and outcome is not Outcome.COMPLETED:
            outcome, reason = Outcome.FAILED, turn.given_up
        result = (history.final(turn.said) if turn.said else found.result) if outcome is Outcome.COMPLETED else None
        nonces, usage = tuple(turn.nonces), self._meter.take()
        by_hand = turn.prompts > len(nonces)
        ended = TurnEnded(outcome, source, nonces, result, reason, limit=found.limit, by_hand=by_hand, usage=usage)
        if outcome is Outcome.COMPLETED and self.agents.running:
            self._with_agents = ended
        else:
            self._events.append(ended)
        self._ended.append(turn.id)
        self.turn = None

    def _end_with_agents(self) -> None:
        """Tell the end that waited for sub-agents: they are done, or something newer began."""
        if self._with_agents is not None:
            usage = total(self._with_agents.usage, self._meter.take())
            self._events.append(replace(self._with_agents, usage=usage))
            self._with_agents = None

    def _told(self, source: str) -> list[Event]:
        if not self.agents.running:
            self._end_with_agents()
        if (state := self._judge()) is not self.state:
            self.state = state
            flags = self.status.flags or self.agents.flags
            self._events.append(StateChanged(state, source, flags[0] if flags else None))
        events, self._events = self._events, []
        return events

    def _judge(self) -> ProcessState:
        if self.status.kind is None:
            return ProcessState.STARTING
        if self.waiting:
            return ProcessState.WAITING
        busy = self.turn is not None or self.status.active or self.agents.running
        return ProcessState.BUSY if busy else ProcessState.IDLE
