"""Files that go with a message: what is known of one, and which names are safe to use.

    POST /attachments?name=NAME -> Attachment -> NewMessage.attachments -> Message.attachments -> GET /attachments/{id}

Nothing of a name that a sender gives ever becomes a path: a file is kept under its id, and where a person or a program
needs a name, it is made by `safe_name` or `cache_name`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from relay_runner.errors import ProtocolError, RelayRefused
from relay_runner.protocol.wire import Wire

MAX_ATTACHMENT_BYTES = 25 * 1024 * 1024
"""What a relay takes, unless it is configured otherwise."""
MAX_ATTACHMENTS = 20
"""How many one message may have."""
UNUSED_S = 24 * 3600.0
"""How long an upload waits for a message that names it."""
MAX_UNUSED = 100
"""How many of one sender's uploads may wait: nobody fills a relay's disk without sending anything."""
NAME_MAX_BYTES = 120
DEFAULT_NAME = "attachment"
DEFAULT_TYPE = "application/octet-stream"
INFO_HEADER = "x-relay-attachment"
"""Of a download: the `Attachment` as JSON in ASCII."""
SHA256_HEADER = "x-relay-sha256"
"""Of an upload, where the sender knows it: what arrives must have it."""

_ID = re.compile(r"[0-9a-f]{32}")
_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


class Attachment(Wire, frozen=True, kw_only=True):
    """One file that a relay keeps."""

    id: str
    name: str
    """A safe base name, by `safe_name`."""
    size: int
    sha256: str
    content_type: str = DEFAULT_TYPE
    created_at: float = 0.0


class NewAttachment(Wire, frozen=True, kw_only=True):
    """What a sender says of a file that is about to be uploaded."""

    name: str
    size: int
    content_type: str = DEFAULT_TYPE
    sha256: str | None = None


class AttachmentLimits(Wire, frozen=True, kw_only=True):
    """The answer to `GET /attachments`: what the relay takes."""

    max_bytes: int
    max_per_message: int = MAX_ATTACHMENTS


def safe_name(name: str) -> str:
    """Return a base name that is one line, has no separator, does not hide itself and is not too long."""
    name = name.encode("utf-8", "replace").decode("utf-8").replace("\\", "/").rpartition("/")[2]
    name = "".join(letter if letter.isprintable() else " " for letter in name)
    name = " ".join(name.split()).lstrip(". -")
    if len(name.encode()) > NAME_MAX_BYTES:
        stem, dot, end = name.rpartition(".")
        end = dot + end if stem and len(end.encode()) <= 16 else ""
        room = NAME_MAX_BYTES - len(end.encode())
        name = name.encode()[:room].decode("utf-8", "ignore").rstrip() + end
    return name or DEFAULT_NAME


def cache_name(attachment: Attachment) -> str:
    """Return the name under which a runner keeps a file: its id, and of its name only what no program misreads."""
    plain = _NOT_PLAIN.sub("_", safe_name(attachment.name)).strip("_") or DEFAULT_NAME
    return f"{check_id(attachment.id)[:12]}-{plain}"


def safe_type(content_type: str | None) -> str:
    """Return a media type without its parameters; what is none becomes `application/octet-stream`."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind if _TYPE.fullmatch(kind) else DEFAULT_TYPE


def check_id(attachment_id: str) -> str:
    """Return an id; raise `ProtocolError` for what cannot be one, before it gets near a path."""
    if not _ID.fullmatch(attachment_id):
        raise ProtocolError(f"{attachment_id[:40]!r} is not the id of an attachment")
    return attachment_id


def check_size(size: int, limit: int, name: str = "") -> None:
    """Raise `RelayRefused` for a file that is larger than the relay takes."""
    if size > limit:
        what = safe_name(name) if name else "the attachment"
        raise RelayRefused(
            f"{what} is larger than {megabytes(limit)}, the most that this relay takes",
            hint="send where it can be found",
            status=413,
            code="attachment-too-large",
        )


def check_unused(waiting: int) -> None:
    """Raise `RelayRefused` for a sender of whom too many uploads wait already."""
    if waiting >= MAX_UNUSED:
        raise RelayRefused(
            f"{waiting} of your uploads wait for a message that names them",
            hint="send them; what no message names goes after a day",
            status=429,
            code="too-many-uploads",
        )


def check_named(ids: Sequence[str]) -> None:
    """Raise `RelayRefused` for a message that names too many attachments, or one twice."""
    if len(ids) > MAX_ATTACHMENTS:
        raise RelayRefused(f"a message has at most {MAX_ATTACHMENTS} attachments", hint="pack them", status=422)
    if len(set(ids)) != len(ids):
        raise RelayRefused("a message names each of its attachments once", status=422)


def megabytes(size: int) -> str:
    """Return a size for a person."""
    for unit, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes" if size != 1 else "1 byte"


def to_header(attachment: Attachment) -> str:
    """Return what is known of a file as the value of an HTTP header."""
    import json

    return json.dumps(msgspec.to_builtins(attachment), ensure_ascii=True)
