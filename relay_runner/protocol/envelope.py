"""How a message looks to a model, and what is taken out of it on the way.

    <relay-message id="41" nonce="k3f9..." from="agent:bob" at="2026-11-21T08:00:00Z">
    body
    </relay-message nonce="k3f9...">

The closing tag repeats the unguessable nonce, so the body is not escaped and code arrives as code. Only the tags
that a model or a provider gives authority to are defused inside the body, by a backslash after the `<`. What is
attached stands between body and closing tag, one tag for each file; it repeats the nonce, which no body can know:

    <relay-attachment nonce="k3f9..." path="/.../3f2a-report.pdf" type="application/pdf" size="1234" sha256="..." />
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from relay_runner.protocol.attachments import Attachment
from relay_runner.protocol.messages import Message

NONCE_BYTES = 12
PATH_MAX_CHARS = 4096

# C0 but newline and tab, DEL, and C1: none of them may reach a terminal, whatever carries the text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_AUTHORITY = re.compile(r"<(?=\s*/?\s*(?:relay-message|system-reminder|task-notification)\b)", re.IGNORECASE)
_NONCE = re.compile(r'<relay-message id="\d+" nonce="([A-Za-z0-9_-]+)"')


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A file of a message, as its agent has it."""

    attachment: Attachment
    path: str | None = None
    failed: str | None = None
    """Why it is not there."""


def sanitise(text: str) -> str:
    """Return `text` as it may reach a terminal: line ends as newlines, no control characters, no lone surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", text).encode("utf-8", "replace").decode("utf-8")


def sanitise_line(text: str, limit: int = 200) -> str:
    """Return `text` as one line of at most `limit` characters without control characters."""
    return " ".join(sanitise(text).split())[:limit]


def defuse(text: str) -> str:
    """Return `text` with the tags that carry authority made harmless."""
    return _AUTHORITY.sub(r"<\\", text)


def render(message: Message, nonce: str, enclosed: Sequence[Enclosed] = ()) -> str:
    """Return the whole envelope of `message` with its files, sanitised, without a final newline."""
    attributes = {
        "id": str(message.id),
        "nonce": nonce,
        "from": message.sender,
        "to": message.to,
        "at": datetime.fromtimestamp(message.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if message.subject:
        attributes["subject"] = message.subject
    if message.reply_to is not None:
        attributes["reply-to"] = str(message.reply_to)
    if message.reply_required:
        attributes["reply-required"] = "true"
    if enclosed:
        attributes["attachments"] = str(len(enclosed))
    head = " ".join(f'{name}="{_attribute(value)}"' for name, value in attributes.items())
    files = "".join(f"{_file(one, nonce)}\n" for one in enclosed)
    return f'<relay-message {head}>\n{body_text(message)}\n{files}</relay-message nonce="{nonce}">'


def _file(enclosed: Enclosed, nonce: str) -> str:
    file = enclosed.attachment
    attributes = {
        "nonce": nonce,
        "path": enclosed.path,
        "failed": enclosed.failed,
        "id": file.id if enclosed.path is None else None,
        "name": file.name,
        "type": file.content_type,
        "size": str(file.size),
        "sha256": file.sha256,
    }
    known = " ".join(
        f'{name}="{_attribute(value, PATH_MAX_CHARS)}"' for name, value in attributes.items() if value is not None
    )
    return f"<relay-attachment {known} />"


def body_text(message: Message) -> str:
    """Return the body exactly as it stands inside the envelope."""
    return defuse(sanitise(message.body))


def nonces(text: str) -> tuple[str, ...]:
    """Return the nonces of all envelopes that open in `text`, in order."""
    return tuple(_NONCE.findall(text))


def _attribute(value: str, limit: int = 200) -> str:
    line = sanitise_line(value, limit)
    return line.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
