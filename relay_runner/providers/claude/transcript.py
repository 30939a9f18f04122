"""What a session's transcript says: which messages the model saw, and how the turns that carried them ended.

A transcript is `<config>/projects/<folder>/<session>.jsonl`, one JSON object a line (2.1.197; undocumented). `Ledger`
is fed line after line and knows, for every nonce, its `Turn`. Only what the model was really shown counts as seen: a
`queue-operation` means that the program has the text, not that the model has it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from relay_runner.protocol.envelope import nonces
from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.usage import Usage
from relay_runner.providers.base import Evidence, TurnState
from relay_runner.providers.claude import failures
from relay_runner.providers.tail import STRANGE, JsonLines, mentions

log = logging.getLogger(__name__)

INTERRUPTED = "[Request interrupted by user"
TAKEN_BACK = "interrupted before the model said anything"
MAIN = "repl_main_thread"
KEPT_TURNS = 200
KEPT_EARLY = 20
SOURCE = "transcript"
_CACHED = "cache_read_input_tokens"
_INPUT = ("input_tokens", "cache_creation_input_tokens", _CACHED)


@dataclass(slots=True)
class Turn:
    """One turn as the transcript tells it."""

    nonces: list[str] = field(default_factory=list)
    by_hand: bool = False
    """A person's own prompt was in it, too."""
    result: str | None = None
    outcome: Outcome | None = None
    """None while it has not ended."""
    reason: str | None = None
    ended_at: float = 0.0
    worked: bool = False
    """Whether the model said or did something since the last prompt."""
    pending_agents: bool = False
    """The model paused for a background agent; the turn goes on when that is done."""
    final: bool = False
    """Whether the model's last word was its final one; the line that ends the turn may never be written."""
    calls: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What each request of the model used, by its id; its subagents' are elsewhere."""
    lines: set[str] = field(default_factory=set)
    """The ids of its lines, by which a prompt that follows it is told from one that replaces it."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.outcome is not None

    def evidence(self) -> Evidence:
        """Return what this says of a message that the turn carried."""
        state = TurnState.ENDED if self.ended else TurnState.RUNNING
        result = self.result if self.outcome is Outcome.COMPLETED else None
        usage = usage_of(self.calls) if self.ended else None
        return self._with(Evidence(True, SOURCE, state, self.outcome, result, self.reason, usage=usage))

    def cut_off(self, reason: str) -> Evidence:
        """Return what this says when the program is known to do nothing more for it."""
        if self.ended:
            return self.evidence()
        if self.final and not self.pending_agents:
            found = Evidence(True, SOURCE, TurnState.ENDED, Outcome.COMPLETED, self.result)
        else:
            found = Evidence(True, SOURCE, TurnState.ENDED, Outcome.FAILED, None, self.reason or reason)
        return self._with(replace(found, usage=usage_of(self.calls)))

    def _with(self, found: Evidence) -> Evidence:
        return replace(found, carried=tuple(self.nonces), by_hand=self.by_hand)


class Ledger:
    """Every turn that carried a message, from the lines of one transcript."""

    def __init__(self) -> None:
        self.current: Turn | None = None
        """The newest turn, ended or not."""
        self.queued: set[str] = set()
        """Messages that the program has taken and not yet shown to the model."""
        self.waiting: set[str] = set()
        """Those of them that nothing was taken out of the queue after."""
        self.asked_at = 0.0
        """When the model last answered, or was asked something in the main conversation (told by 2.1.332)."""
        self._turns: dict[str, Turn] = {}
        self._early: list[dict[str, Any]] = []
        """What the model said in no turn: on a busy machine a new file's first answer stands before its prompt."""

    def turn_of(self, nonce: str) -> Turn | None:
        """Return the turn that carried the message with this nonce."""
        return self._turns.get(nonce)

    def feed(self, line: Any) -> tuple[str, ...]:
        """Take the next line; return the nonces that the model was shown for the first time by it.

        One that cannot be read says nothing: another version may write it otherwise.
        """
        if not isinstance(line, dict) or line.get("isSidechain"):
            return ()
        try:
            new = self._take(line)
        except STRANGE as error:
            log.warning("a line of the transcript has an unknown shape: %r", error)
            return ()
        if self.current is not None and line.get("uuid"):
            self.current.lines.add(str(line["uuid"]))
        return new

    def _take(self, line: dict[str, Any]) -> tuple[str, ...]:
        match line.get("type"):
            case "queue-operation" if line.get("operation") == "enqueue":
                found = nonces(_text(line.get("content")))
                self.queued.update(found)
                self.waiting.update(found)
            case "queue-operation":
                # 2.1.332 says what was removed, 2.1.197 does not, and none says what was dequeued.
                self.waiting.difference_update(nonces(_text(line.get("content"))) or tuple(self.waiting))
            case "api-request" if str(line.get("querySource")).startswith(MAIN):
                self.asked_at = max(self.asked_at, _instant(line))
            case "user":
                return self._user(line)
            case "attachment":
                attachment = line.get("attachment") or {}
                if attachment.get("type") == "queued_command":
                    return self._joined(_text(attachment.get("prompt")))
            case "assistant":
                self._assistant(line)
            case "system" if line.get("subtype") == "turn_duration" and self.current is not None:
                self._paused(line)
        return ()

    def _user(self, line: dict[str, Any]) -> tuple[str, ...]:
        text = _text((line.get("message") or {}).get("content"))
        turn = self.current
        if text.startswith(INTERRUPTED):
            if turn is not None and not turn.ended:
                self._end(turn, Outcome.INTERRUPTED, line, "interrupted")
            return ()
        if not text or line.get("isMeta") or line.get("isCompactSummary"):
            return ()
        if turn is None or turn.ended or self._superseded(turn, line):
            turn = self.current = Turn()
        turn.pending_agents = turn.worked = turn.final = False
        new = self._joined(text)
        early, self._early = self._early, []
        for answer in early:
            if _instant(answer) >= _instant(line) > 0:
                turn.lines.add(str(answer.get("uuid")))
                self._assistant(answer)
        return new

    def _superseded(self, turn: Turn, line: dict[str, Any]) -> bool:
        """End a turn that nothing ended, when this prompt does not belong to it."""
        parent = line.get("parentUuid")
        if not turn.worked and parent and turn.lines and parent not in turn.lines:
            # Escape before the model's first word takes the prompt back: the next one stands in its place.
            self._end(turn, Outcome.INTERRUPTED, line, TAKEN_BACK)
        elif turn.worked and not turn.pending_agents:
            # The program was killed in that turn, or gave up in it.
            told = turn.cut_off("the turn was cut off")
            assert told.outcome is not None
            self._end(turn, told.outcome, line, told.reason)
        return turn.ended

    def _joined(self, text: str) -> tuple[str, ...]:
        """Note the messages in `text` as carried by the current turn."""
        turn = self.current
        if turn is None or turn.ended:
            turn = self.current = Turn()
        found = dict.fromkeys(nonces(text))
        # What the program says by itself, of background agents or commands, stands in tags.
        turn.by_hand |= not found and not text.lstrip().startswith("<") and bool(text.strip())
        new = tuple(nonce for nonce in found if nonce not in self._turns)
        for nonce in new:
            turn.nonces.append(nonce)
            self._turns[nonce] = turn
            self.queued.discard(nonce)
            self.waiting.discard(nonce)
        while len(self._turns) > KEPT_TURNS:
            del self._turns[next(iter(self._turns))]
        return new

    def _assistant(self, line: dict[str, Any]) -> None:
        self.asked_at = max(self.asked_at, _instant(line))
        turn = self.current
        if turn is None or turn.ended:
            self._early = [*self._early[-KEPT_EARLY:], line]
            return
        message = line.get("message") or {}
        turn.worked, turn.final = True, message.get("stop_reason") == "end_turn"
        if isinstance(message.get("usage"), dict) and not line.get("isApiErrorMessage"):
            turn.calls[str(message.get("id"))] = message["usage"]
        text = _text(message.get("content"))
        if line.get("isApiErrorMessage"):
            turn.reason = failures.reason(line.get("error"), text)
        elif text:
            turn.result, turn.reason = text, None

    def _paused(self, line: dict[str, Any]) -> None:
        turn = self.current
        assert turn is not None
        if line.get("pendingBackgroundAgentCount"):
            turn.pending_agents = True
        elif not turn.ended:
            self._end(turn, Outcome.FAILED if turn.reason else Outcome.COMPLETED, line, turn.reason)

    def _end(self, turn: Turn, outcome: Outcome, line: dict[str, Any], reason: str | None) -> None:
        turn.outcome, turn.reason, turn.ended_at = outcome, reason, _instant(line)


@dataclass(slots=True)
class Trace:
    """What one session's files hold of a message."""

    turn: Turn | None = None
    """The turn that carried it."""
    shown: bool = False
    """A request to the model holds it (2.1.332), whatever else was written."""
    waiting: bool = False
    """The program took it into its queue, and nothing left that queue since."""
    strange: bool = False
    """It stands where it is not known what that means: in a subagent's file, in half a line."""
    asked_at: float = 0.0
    """See `Ledger.asked_at`."""


def trace(path: Path, nonce: str) -> Trace:
    """Read a session's files from their start and return what they hold of a message."""
    found, wanted = Trace(), nonce.encode()
    ledger = Ledger()
    lines = JsonLines(path)
    for line, holds in lines.marked(by=wanted):
        ledger.feed(line)
        if holds and isinstance(line, dict) and line.get("type") == "api-request-blob":
            found.shown = True
        elif holds and not (isinstance(line, dict) and line.get("type") == "queue-operation"):
            found.strange = True
    found.turn, found.waiting, found.asked_at = ledger.turn_of(nonce), nonce in ledger.waiting, ledger.asked_at
    beside = path.with_suffix("")
    found.strange |= wanted in lines.rest or any(mentions(file, wanted) for file in beside.rglob("*.jsonl"))
    return found


def usage_of(calls: Mapping[str, Mapping[str, Any]], cost_usd: float | None = None) -> Usage | None:
    """Return what these requests used together; None where nothing tells it."""
    if not calls and cost_usd is None:
        return None
    return Usage(
        input_tokens=_total(calls, _INPUT),
        cached_tokens=_total(calls, (_CACHED,)),
        output_tokens=_total(calls, ("output_tokens",)),
        cost_usd=cost_usd,
    )


def _total(calls: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> int | None:
    told = [value for usage in calls.values() for name in names if isinstance(value := usage.get(name), int)]
    return sum(told) if told else None


def _text(content: Any) -> str:
    """Return the text of a message's content: a string, or the text blocks of a list."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    blocks = (block for block in content if isinstance(block, dict) and block.get("type") == "text")
    return "\n".join(str(block.get("text", "")) for block in blocks)


def _instant(line: dict[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(line.get("timestamp"))).timestamp()
    except ValueError:
        return 0.0
