"""Bring an attachment onto this machine's disk: whole and as it was sent, or not at all.

It is written into a 0600 file with a name of ours, and gets its own name only when its size and sha256 are right. All
of that happens relative to the folder that was opened, so no link that somebody puts in the way leads elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from relay_runner.errors import ConfigError, ProtocolError
from relay_runner.protocol.attachments import Attachment
from relay_runner.relay.base import Download, Relay

NAME_TRIES = 1000


class Arrived:
    """A whole and checked file that has no name yet; it is gone at the end of its context unless it is kept."""

    def __init__(self, folder: Path, descriptor: int, part: str, attachment: Attachment) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self._part = part
        self.attachment = attachment

    def keep(self, name: str) -> Path:
        """Give it a name, which it takes away from what had it."""
        os.rename(self._part, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        return self._folder / name

    def keep_beside(self, name: str) -> Path:
        """Give it a name that nothing has yet: this one, or the next by number."""
        stem, dot, end = name.rpartition(".") if "." in name[1:] else (name, "", "")
        for number in range(1, NAME_TRIES):
            candidate = name if number == 1 else f"{stem}-{number}{dot}{end}"
            with contextlib.suppress(FileExistsError):
                os.link(self._part, candidate, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
                return self._folder / candidate
        raise ConfigError(f"there are too many files called {name} in {self._folder}", hint="name another folder")

    def content(self) -> bytes:
        """Return its bytes."""
        with os.fdopen(os.open(self._part, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._descriptor), "rb") as file:
            return file.read()


@asynccontextmanager
async def arriving(relay: Relay, attachment_id: str, folder: Path) -> AsyncIterator[Arrived]:
    """Fetch a file into a folder that exists; raise `ProtocolError` where it is not what the relay says it is."""
    part = f".{secrets.token_hex(8)}.part"
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        async with relay.download(attachment_id) as download:
            await _write(download, part, descriptor)
            attachment = download.attachment
        yield Arrived(folder, descriptor, part, attachment)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part, dir_fd=descriptor)
        os.close(descriptor)


def matches(file: Path, attachment: Attachment) -> bool:
    """Say whether a file is there, is no link, and holds what was sent."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if os.fstat(descriptor).st_size != attachment.size:
                return False
            return hashlib.file_digest(stream, "sha256").hexdigest() == attachment.sha256
    except OSError:
        return False


async def _write(download: Download, part: str, folder: int) -> None:
    attachment, digest, size = download.attachment, hashlib.sha256(), 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(part, flags, 0o600, dir_fd=folder), "wb", buffering=0) as file:
        async for chunk in download.chunks:
            size += len(chunk)
            if size > attachment.size:
                break
            digest.update(chunk)
            await asyncio.to_thread(_write_all, file.fileno(), chunk)
    if size != attachment.size or digest.hexdigest() != attachment.sha256:
        raise ProtocolError(f"{attachment.name} arrived changed", hint="ask its sender for it again")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
