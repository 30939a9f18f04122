"""The permission dialog on Claude Code's screen (2.1.197), and whether it is the one that we know of. Screens are data.

    ──────────────
     Bash command · from the general-purpose agent
       mkdir x1
       fake run
     Do you want to proceed?
     > 1. Yes
       2. Yes, and always allow access to work/ from this project
       3. No

A digit answers at once, so it is pressed only in a dialog that shows exactly what was asked: a command that stands on
one line. What is folded, wrapped or cut is not proof.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from relay_runner.providers.claude.asks import Ask
from relay_runner.terminal.base import Screen

_RULE = re.compile(r"^─{10,}")
_FIRST = re.compile(r"^\s*(?:\u276f\s*)?1\. (?P<text>\S.*)$")
_INDENT = "   "
_BASH = "Bash command"
YES = "1"


@dataclass(frozen=True, slots=True)
class Dialog:
    """What a dialog says above its choices."""

    header: str
    """What it is about, without who asks."""
    body: tuple[str, ...]
    """The lines between the header and the question, without the empty ones."""
    question: str
    first: str
    """The choice that the digit 1 stands for."""

    @property
    def title(self) -> str:
        """One line for a person."""
        return f"{self.header}: {self.body[0].strip()}" if self.body else self.header


def dialog_of(screen: Screen) -> Dialog | None:
    """Return the dialog that is on the screen."""
    found = next((number for number, line in reversed(list(enumerate(screen.lines))) if _FIRST.match(line)), None)
    if found is None:
        return None
    match = _FIRST.match(screen.lines[found])
    above = [number for number in range(found) if _RULE.match(screen.lines[number])]
    lines = [line.rstrip() for line in screen.lines[(above[-1] + 1 if above else 0) : found] if line.strip()]
    if match is None or len(lines) < 2:
        return None
    header, *body, question = lines
    return Dialog(header.strip().partition(" · ")[0], tuple(body), question.strip(), match["text"].strip())


def proves(dialog: Dialog, ask: Ask) -> bool:
    """Say whether this is the dialog of that very request, and its first choice a plain yes."""
    command = ask.command
    if command is None or dialog.header != _BASH or dialog.first != "Yes" or not dialog.body:
        return False
    description = ask.input.get("description")
    rest = [f"{_INDENT}{description}"] if isinstance(description, str) and description.strip() else []
    return list(dialog.body) == [f"{_INDENT}{command}", *rest]


def shows(dialog: Dialog, ask: Ask) -> bool:
    """Say whether the dialog looks like that request's; enough to tell it from another one, not to answer it."""
    body = _squash("".join(dialog.body))
    if ask.command is not None:
        return dialog.header == _BASH and _squash(ask.command)[:500] in body
    if ask.file is not None:
        return dialog.header != _BASH and _squash(PurePath(ask.file).name) in body
    whole = _squash(dialog.header + "".join(dialog.body) + dialog.question)
    words = [_squash(word)[:60] for word in ask.words()]
    return dialog.header != _BASH and bool(words) and any(word in whole for word in words)


def _squash(text: str) -> str:
    return "".join(text.split())
