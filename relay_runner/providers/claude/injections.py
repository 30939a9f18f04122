"""Words that the model is to have as system context: kept in a file until the transcript shows that it has them.

Claude Code (2.1.197) puts the `additionalContext` that a UserPromptSubmit hook answers before the model, with the
prompt and without a turn of its own, and writes it down as an attachment. Only that line ends an injection: what went
into a prompt that was taken back goes into the next one, also one of another runner.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from relay_runner.config import write_private
from relay_runner.errors import ProviderRefused
from relay_runner.protocol.envelope import defuse, sanitise, sanitise_line

log = logging.getLogger(__name__)
FILE = "claude-injections.json"
MAX_CHARS = 100_000
"""What may wait at a time."""
AGAIN_S = 5.0
"""How long after a prompt the transcript may take to show what was given with it; then it goes in once more."""
_TAG = "relay-context"


class Injection(msgspec.Struct, frozen=True, rename="camel"):
    """One thing that the model is to know."""

    id: str
    content: str
    reason: str | None = None
    memory_ids: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it as the model sees it."""
        told = f' reason="{_attribute(self.reason)}"' if self.reason else ""
        if self.memory_ids:
            told += f' memories="{_attribute(" ".join(self.memory_ids))}"'
        return f'<{_TAG} id="{self.id}"{told}>\n{self.content}\n</{_TAG} id="{self.id}">'


class Injections:
    """What waits for the next prompt of one agent."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._waiting = _load(self._file)
        self._given_at: dict[str, float] = {}
        """What a prompt was given, and the transcript does not show yet."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, args: Mapping[str, Any]) -> int:
        """Keep what is to be injected and return how many pieces that is; raise `ProviderRefused` without content."""
        content = args.get("content")
        pieces = [content] if isinstance(content, str) else content
        if not isinstance(pieces, Sequence) or not pieces or not all(_said(piece) for piece in pieces):
            raise ProviderRefused("there is no content to inject", hint="content is a text, or a list of texts")
        reason, ids = args.get("reason"), args.get("memoryIds") or ()
        if not isinstance(ids, Sequence) or isinstance(ids, str):
            raise ProviderRefused("memoryIds is a list")
        new = [
            Injection(
                secrets.token_hex(4),
                defuse(sanitise(piece)),
                sanitise_line(str(reason)) if reason else None,
                tuple(sanitise_line(str(one)) for one in ids),
            )
            for piece in pieces
        ]
        if sum(len(one.content) for one in (*self._waiting, *new)) > MAX_CHARS:
            raise ProviderRefused(f"more than {MAX_CHARS} characters would wait for the next prompt")
        try:
            self._save([*self._waiting, *new])
        except OSError as error:
            raise ProviderRefused(f"cannot save the text to inject ({error.strerror})") from error
        return len(new)

    def give(self, now: float) -> Mapping[str, Any] | None:
        """Return what a UserPromptSubmit hook answers, or None while nothing waits."""
        given = [one for one in self._waiting if now - self._given_at.get(one.id, float("-inf")) >= AGAIN_S]
        if not given:
            return None
        self._given_at.update((one.id, now) for one in given)
        text = "\n".join(one.text() for one in given)
        return {"hookSpecificOutput": {"hookEventName": "UserPromptSubmit", "additionalContext": text}}

    def line(self, line: Any) -> None:
        """Take a line of the transcript: it may show that the model has something."""
        if not self._waiting or not isinstance(line, dict):
            return
        attachment = line.get("attachment")
        if not isinstance(attachment, dict) or attachment.get("type") != "hook_additional_context":
            return
        shown = "\n".join(_texts(attachment.get("content")))
        left = [one for one in self._waiting if f'<{_TAG} id="{one.id}"' not in shown]
        if len(left) < len(self._waiting):
            try:
                self._save(left)
            except OSError as error:  # it is looked for again in whatever comes
                log.warning("%s cannot be written: %s", self._file, error)

    def _save(self, waiting: list[Injection]) -> None:
        if waiting:
            write_private(self._file, msgspec.json.encode(waiting))
        else:
            self._file.unlink(missing_ok=True)
        self._waiting = waiting


def _load(file: Path) -> list[Injection]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[Injection])
    except FileNotFoundError:
        return []


def _said(piece: Any) -> bool:
    return isinstance(piece, str) and bool(piece.strip())


def _texts(content: Any) -> Iterable[str]:
    return [content] if isinstance(content, str) else [str(one) for one in content or ()]


def _attribute(value: str) -> str:
    return value.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
