"""What the demo agent asks a person, and the answers that come by a file beside the transcript.

Whoever answers elsewhere writes `<session>.answer`, one JSON object: the question's `id`, a `decision`, and where there
is something to choose `answers` with the `choice`. The agent reads it while it asks; what is about another question is
thrown away. The person at the terminal and the file race, and the transcript says who won.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHOICE = "choice"
GRANTS = ("approve", "approve-session")


@dataclass(frozen=True)
class Question:
    """A question on the screen."""

    text: str
    options: tuple[str, ...] = ()
    """What can be chosen; a plain yes or no without."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:10])

    @property
    def line(self) -> str:
        """What is shown."""
        if not self.options:
            return f"Allow: {self.text}? [y/n]"
        choices = " ".join(f"{number}={option}" for number, option in enumerate(self.options, 1))
        return f"{self.text}? [{choices} n=none]"

    def typed(self, letter: str) -> dict[str, Any] | None:
        """Return the answer that a key stands for."""
        if letter.lower() == "n":
            return {"decision": "deny"}
        if not self.options:
            return {"decision": "approve"} if letter.lower() == "y" else None
        if letter.isdecimal() and 0 < int(letter) <= len(self.options):
            return {"decision": "approve", "answers": {CHOICE: self.options[int(letter) - 1]}}
        return None

    def first(self) -> dict[str, Any]:
        """Return what Enter means: as in real agents the first choice, and the first choice is yes."""
        return {"decision": "approve", "answers": {CHOICE: self.options[0]} if self.options else {}}

    def said(self, answer: dict[str, Any]) -> str:
        """Return what the model says to an answer."""
        if answer["decision"] in GRANTS:
            chosen = (answer.get("answers") or {}).get(CHOICE)
            return f"chosen: {chosen}" if self.options else f"allowed: {self.text}"
        reason = answer.get("reason")
        return f"denied: {self.text}" + (f" ({reason})" if reason else "")


def question_of(word: str, rest: str) -> Question | None:
    """Return what `ask TEXT` or `choose A|B TEXT` asks; None for another word."""
    match word.removesuffix(":"):
        case "ask":
            return Question(rest.rstrip("?") or "this")
        case "choose":
            options, _, text = rest.partition(" ")
            return Question(text.rstrip("?") or "which one", tuple(option for option in options.split("|") if option))
    return None


def take_answer(file: Path, question: Question) -> dict[str, Any] | None:
    """Return the answer that lies in the file, and take it away; None where there is none to this question."""
    try:
        answer = json.loads(file.read_bytes())
        file.unlink()
    except (FileNotFoundError, ValueError):
        return None
    return answer if isinstance(answer, dict) and answer.get("id") == question.id else None
