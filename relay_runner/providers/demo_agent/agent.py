"""What the demo agent does with a prompt.

    echo TEXT, or anything else   answers the text
    slow N [TEXT]                 works N seconds first
    ask TEXT                      asks for permission and waits for y or n
    choose A|B|C [TEXT]           asks which one
    subagent N [TEXT]             lets a subagent work N seconds
    fail [REASON]                 ends the turn as failed
    limit N [TEXT]                meets a rate limit of N seconds; continued afterwards, it answers the text
    spend USD [TEXT]              answers the text, and costs that much
    exit [N]                      answers, and ends the program with that exit code
    crash                         dies in the middle of the turn, as kill -9 would do it
    recall                        answers the context that it was given
    help                          answers this list
    /context [ID] + lines         takes the lines as context, without a turn
    /compact [ID], /clear [ID]    compacts the session; begins a new one that knows nothing

A prompt may be a relay message; then its body counts. Prompts that come while one is worked on wait for their turn.
"""

from __future__ import annotations

import os
import re
import select
import signal
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from relay_runner.providers.demo_agent.editor import Editor, EndOfInput, Enter, Interrupt, Letter, Meaning
from relay_runner.providers.demo_agent.question import Question, question_of, take_answer
from relay_runner.providers.demo_agent.screen import Screen
from relay_runner.providers.demo_agent.transcript import Transcript

TICK_S = 0.1
CONTINUED = "The limit that cut your work off is over."
"""How the runner begins what it puts in after a limit."""
ESCAPE_S = 0.03
_READ = 1 << 16
_ENVELOPE = re.compile(
    r'<relay-message id="(?P<id>\d+)" nonce="(?P<nonce>[\w-]+)" from="(?P<sender>[^"\n]{0,200})"[^<>\n]*>\n'
)
_COMMAND = re.compile(r"/(?P<action>context|compact|clear)(?: (?P<id>[\w-]+))?(?:\n(?P<text>.*))?", re.DOTALL)
_NONCE = re.compile(r'<relay-message id="\d+" nonce="([\w-]+)"')


@dataclass
class Turn:
    """The prompt that is worked on."""

    id: str
    nonces: list[str]
    answer: str
    until: float = 0.0
    """Work goes on to this instant."""
    what: str = "working"
    question: Question | None = None
    subagent: str | None = None
    exit_code: int | None = None
    message_id: str = ""
    read: int = 0
    """How many characters it was given."""
    cost: float = 0.0


class Agent:
    """Reads prompts, works on one at a time, writes everything down before it shows it."""

    def __init__(self, transcript: Transcript, screen: Screen, *, allow: bool = False) -> None:
        self._transcript = transcript
        self._screen = screen
        self._allow = allow
        self._editor = Editor()
        self._waiting: deque[str] = deque()
        self._turn: Turn | None = None
        self._exit_code: int | None = None
        self._context: list[str] = []
        self._allowed: set[str] = set()
        """What was allowed for the session."""
        self._limited_until = 0.0
        self._cut_off: dict[str, str] = {}
        """What is answered when a message that met the limit is continued."""

    def run(self, descriptor: int, *, resumed: bool = False) -> int:
        """Read from the terminal until the end, and return the exit code."""
        self._greet(resumed)
        step = 0
        while self._exit_code is None:
            while self._turn is None and self._waiting:
                self._begin(self._waiting.popleft())
            self._draw(step)
            came = select.select([descriptor], [], [], self._pause(time.monotonic()))[0]
            for meaning in self._read(descriptor) if came else self._editor.quiet():
                self._act(meaning)
            self._work(time.monotonic())
            step += 1
        self._transcript.write("exit", code=self._exit_code)
        self._screen.line()
        return self._exit_code

    def _pause(self, now: float) -> float | None:
        """Return how long nothing needs to be done unless somebody types."""
        if self._editor.waiting:
            return ESCAPE_S
        if self._turn is None:
            return None
        if self._turn.question:
            return TICK_S
        return max(0.0, min(TICK_S, self._turn.until - now))

    def _read(self, descriptor: int) -> Iterator[Meaning]:
        try:
            data = os.read(descriptor, _READ)
        except OSError:
            data = b""  # the terminal was hung up
        if not data:
            self._exit_code = 1
        return self._editor.feed(data)

    def _greet(self, resumed: bool) -> None:
        session = self._transcript.session
        broken = self._transcript.unfinished() if resumed else None
        self._context = self._transcript.context() if resumed else []
        process = os.environ.get("AGENT_RELAY_PROVIDER_SESSION_ID")
        self._transcript.write("session", session=session, process=process, resumed=resumed)
        if broken is not None:
            self._transcript.write(
                "turn-ended", turn=broken.get("turn"), nonces=broken.get("nonces", []), outcome="failed",
                text=None, reason="the program ended in the middle of the turn",
            )  # fmt: skip
        self._screen.line(f"relay-runner demo agent, session {session[:8]}{', resumed' if resumed else ''}")
        self._screen.line("It needs no account. Try: echo hi | slow 5 | ask to delete it | fail | subagent 3 | help")
        self._screen.line()
        self._state("idle")

    def _draw(self, step: int) -> None:
        turn = self._turn
        if turn is None:
            self._screen.input(self._editor.draft)
        elif turn.question:
            self._screen.question(turn.question.line)
        else:
            self._screen.working(turn.what, step)

    def _act(self, meaning: Meaning) -> None:
        turn = self._turn
        match meaning:
            case Interrupt() if turn is not None:
                self._end("interrupted", None, "interrupted")
            case Interrupt():
                self._editor.draft = ""
            case Enter(text) if turn is not None and turn.question:
                self._editor.draft = text
                self._answer(turn.question.first(), "terminal")
            case Enter(text) if text.strip():
                self._waiting.append(text)
            case Letter(letter) if turn is not None and turn.question:
                self._editor.draft = self._editor.draft[:-1]
                if (answer := turn.question.typed(letter)) is not None:
                    self._answer(answer, "terminal")
            case EndOfInput():
                self._exit_code = 0

    def _begin(self, prompt: str) -> None:
        if command := _COMMAND.fullmatch(prompt.strip()):
            self._operate(command["action"], command["id"], command["text"] or "")
            return
        envelope = _ENVELOPE.search(prompt)
        end = prompt.rfind(f'\n</relay-message nonce="{envelope["nonce"]}">') if envelope else -1
        body = prompt[envelope.end() : end] if envelope and end >= envelope.end() else prompt
        origin = f"message {envelope['id']} from {envelope['sender']}: " if envelope else ""
        turn = self._turn = Turn(uuid.uuid4().hex[:12], _NONCE.findall(prompt), answer=body, read=len(prompt))
        turn.message_id = envelope["id"] if envelope else ""
        self._transcript.write("prompt", turn=turn.id, nonces=turn.nonces, text=prompt)
        self._transcript.write("turn-started", turn=turn.id, nonces=turn.nonces)
        self._state("busy")
        self._screen.line(f"> {origin}{body if len(body) < 2000 else body[:2000] + '…'}")
        if time.time() < self._limited_until:
            self._meet_limit()
        elif turn.message_id in self._cut_off and body.startswith(CONTINUED):
            turn.answer = self._cut_off.pop(turn.message_id)
        else:
            self._direct(turn, body.strip())

    def _direct(self, turn: Turn, body: str) -> None:
        word, _, rest = body.partition(" ")
        match word:
            case "echo":
                turn.answer = rest
            case "slow" | "subagent":
                seconds, _, text = rest.partition(" ")
                turn.until = time.monotonic() + _seconds(seconds)
                turn.answer = text or f"done after {seconds or 1} s"
                if word == "subagent":
                    turn.subagent = f"sub-{turn.id}"
                    turn.what = "a subagent is working"
                    self._transcript.write("subagent-started", id=turn.subagent, role="demo")
            case "ask" | "ask:" | "choose" | "choose:":
                self._ask(turn, word, rest)
            case "fail":
                self._end("failed", None, rest or "asked to fail")
            case "limit":
                seconds, _, text = rest.partition(" ")
                self._limited_until = time.time() + _seconds(seconds)
                self._cut_off[turn.message_id] = text or "went on after the limit"
                self._meet_limit()
            case "spend":
                dollars, _, text = rest.partition(" ")
                turn.cost, turn.answer = _seconds(dollars), text or f"spent {dollars} USD"
            case "exit":
                turn.exit_code = int(rest) if rest.isdigit() else 0
                turn.answer = "bye"
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "recall":
                turn.answer = "\n".join(self._context) or "nothing"
            case "help":
                turn.answer = (__doc__ or "").partition("\n\n")[2].rpartition("\n\n")[0]

    def _operate(self, action: str, id: str | None, text: str) -> None:
        """Do what is no turn: the model is not asked."""
        match action:
            case "context":
                self._context.append(text)
                self._transcript.write("context", text=text)
            case "clear":
                self._context = []
                self._transcript.renew(str(uuid.uuid4()), process=os.environ.get("AGENT_RELAY_PROVIDER_SESSION_ID"))
                self._state("idle")
        self._transcript.write("operated", id=id, action=action, session=self._transcript.session)
        self._screen.line(f"[{action}]")
        self._screen.line()

    def _meet_limit(self) -> None:
        limit = {"reason": "the demo's rate limit", "until": self._limited_until}
        self._end("failed", None, "rate-limited: the demo's rate limit", limit)

    def _ask(self, turn: Turn, word: str, rest: str) -> None:
        question = question_of(word, rest)
        if question is None:
            return
        if self._allow or question.text in self._allowed:
            turn.answer = question.said(question.first())
            return
        turn.question = question
        self._transcript.write("asked", id=question.id, text=question.text, options=question.options)
        self._state("waiting", question.text)

    def _answer(self, answer: dict[str, Any], by: str) -> None:
        turn = self._turn
        if turn is None or turn.question is None:
            return
        question, turn.question = turn.question, None
        self._transcript.write("answered", id=question.id, by=by, decision=answer["decision"])
        if answer["decision"] == "abort":
            self._end("interrupted", None, answer.get("reason") or "aborted")
            return
        if answer["decision"] == "approve-session":
            self._allowed.add(question.text)
        turn.answer = question.said(answer)
        self._state("busy")

    def _work(self, now: float) -> None:
        turn = self._turn
        if turn is not None and turn.question is not None:
            answer = take_answer(self._transcript.path.with_suffix(".answer"), turn.question)
            if answer is not None:
                self._answer(answer, "relay")
        if turn is not None and turn.question is None and now >= turn.until:
            self._end("completed", turn.answer, None)
            self._exit_code = turn.exit_code

    def _end(self, outcome: str, text: str | None, reason: str | None, limit: dict[str, object] | None = None) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        if turn.question is not None:
            self._transcript.write("withdrawn", id=turn.question.id)
        if turn.subagent:
            self._transcript.write("subagent-ended", id=turn.subagent)
        self._transcript.write(
            "turn-ended", turn=turn.id, nonces=turn.nonces, outcome=outcome, text=text, reason=reason, limit=limit,
            usage={"inputTokens": -(-turn.read // 4), "outputTokens": len(text or "") // 4, "costUsd": turn.cost},
        )  # fmt: skip
        self._screen.line(text if text is not None else f"[{outcome}] {reason}")
        self._screen.line()
        self._state("idle")

    def _state(self, state: str, detail: str | None = None) -> None:
        self._transcript.write("state", state=state, detail=detail)


def _seconds(word: str) -> float:
    try:
        return max(0.0, min(3600.0, float(word)))
    except ValueError:
        return 1.0
