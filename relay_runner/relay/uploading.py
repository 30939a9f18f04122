"""Files on their way to the relay: looked at before anything is sent, read once, and checked against what arrived."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from relay_runner.errors import ConfigError, ProtocolError, RelayRefused
from relay_runner.protocol.attachments import DEFAULT_TYPE, MAX_ATTACHMENTS, NewAttachment, check_size
from relay_runner.relay.base import Relay

CHUNK_BYTES = 256 * 1024


@dataclass(slots=True)
class Upload:
    """One file that can be sent."""

    path: Path
    size: int
    allowed: Sequence[Path] | None = None
    sha256: str = ""
    """Of what was read last."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read the file from its start, exactly as long as it was when it was looked at."""
        digest, left = hashlib.sha256(), self.size
        with _open(self.path, self.allowed) as file:
            while left:
                chunk = await asyncio.to_thread(file.read, min(left, CHUNK_BYTES))
                if not chunk:
                    raise ConfigError(f"{self.path} became shorter while it was read", hint="send it again")
                left -= len(chunk)
                digest.update(chunk)
                yield chunk
        self.sha256 = digest.hexdigest()


def look(names: Sequence[str], *, allowed: Sequence[Path] | None = None) -> list[Upload]:
    """Look at files, of the `allowed` folders only; raise `ConfigError` for the first that cannot be sent."""
    if len(names) > MAX_ATTACHMENTS:
        raise ConfigError(f"a message has at most {MAX_ATTACHMENTS} attachments", hint="pack them into one file")
    found: list[Upload] = []
    for path in (Path(name).expanduser() for name in names):
        with _open(path, allowed) as file:
            found.append(Upload(path, os.fstat(file.fileno()).st_size, allowed))
    return found


async def give(relay: Relay, files: Sequence[Upload]) -> tuple[str, ...]:
    """Upload files and return their ids; what is too large is refused before anything is sent."""
    if not files:
        return ()
    limits = await relay.attachment_limits()
    for one in files:
        try:
            check_size(one.size, limits.max_bytes, one.path.name)
        except RelayRefused as error:
            raise ConfigError(error.message, hint=error.hint) from error
    return tuple([await _give(relay, one) for one in files])


async def _give(relay: Relay, upload: Upload) -> str:
    import mimetypes

    kind, encoding = mimetypes.guess_type(upload.path.name)
    # What is packed is no text, whatever is in it.
    new = NewAttachment(
        name=upload.path.name, size=upload.size, content_type=kind if kind and not encoding else DEFAULT_TYPE
    )
    attachment = await relay.upload(new, upload.chunks)
    if (attachment.size, attachment.sha256) != (upload.size, upload.sha256):
        raise ProtocolError(f"{upload.path.name} arrived changed", hint="send it again")
    return attachment.id


def _open(path: Path, allowed: Sequence[Path] | None) -> BinaryIO:
    """Open a plain file; what is checked is the file that was opened, so none can take its place meanwhile."""
    try:
        # Not to wait for a pipe's other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"cannot read {path} ({error.strerror})", hint="nothing was sent") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path} is not a file", hint="pack a folder first" if path.is_dir() else None)
        real = Path(f"/proc/self/fd/{descriptor}").readlink()
        if allowed is not None and not any(real.is_relative_to(folder) for folder in allowed):
            raise ConfigError(
                f"an agent sends files of its own folder only, and {path} is not there", hint="put a copy there"
            )
        if allowed is not None and found.st_nlink > 1:
            # Another name of it may stand anywhere, in a folder that the agent may not read.
            raise ConfigError(f"{path} has hard links, perhaps outside the folder", hint="send a copy")
    except ConfigError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")
