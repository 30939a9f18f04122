"""Attachments on this machine's disk: one 0600 file for each, named by its id, in a 0700 folder beside the store."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from relay_runner.config import private_dir
from relay_runner.errors import RelayNotFound, StoreError
from relay_runner.protocol.attachments import MAX_ATTACHMENT_BYTES, check_id, check_size
from relay_runner.server.store.base import Received

CHUNK_BYTES = 256 * 1024
SETTLED_S = 3600.0
"""A file this old that no row names belongs to no upload any more: its relay died over it."""


class LocalFiles:
    """Implements `store.base.Files`."""

    def __init__(self, folder: Path, limit: int = MAX_ATTACHMENT_BYTES) -> None:
        self._folder = folder
        self.limit = limit

    async def receive(self, chunks: AsyncIterator[bytes], name: str = "") -> Received:
        """Write a file as it arrives; it is on the disk, whole, when this returns."""
        file_id = secrets.token_hex(16)
        part = self._folder / f".{file_id}.part"
        digest, size = hashlib.sha256(), 0
        try:
            descriptor = await asyncio.to_thread(self._create, part)
            try:
                async for chunk in chunks:
                    size += len(chunk)
                    check_size(size, self.limit, name)
                    digest.update(chunk)
                    await asyncio.to_thread(_write, descriptor, chunk)
                await asyncio.to_thread(os.fsync, descriptor)
            finally:
                os.close(descriptor)
            await asyncio.to_thread(part.rename, self._folder / file_id)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StoreError(
                f"cannot keep an attachment ({error.strerror})", hint="look at the relay's disk"
            ) from error
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return Received(file_id, size, digest.hexdigest())

    async def read(self, file_id: str) -> AsyncIterator[bytes]:
        """Yield a file's bytes."""
        try:
            file = await asyncio.to_thread(self._path(file_id).open, "rb")
        except OSError as error:
            raise RelayNotFound(
                f"the file of attachment {file_id} is gone from the relay's disk", code="file-gone"
            ) from error
        with file:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk

    async def remove(self, file_ids: Collection[str]) -> None:
        """Delete files; one that is gone already is no error."""
        for path in [self._path(file_id) for file_id in file_ids]:
            with _as_store_error("remove"):
                await asyncio.to_thread(path.unlink, missing_ok=True)

    async def settled(self) -> list[str]:
        """Return the ids of the files that no upload can still be busy with, and clear broken uploads away."""
        with _as_store_error("look through"):
            return await asyncio.to_thread(self._settled)

    def _settled(self) -> list[str]:
        found: list[str] = []
        before = time.time() - SETTLED_S
        for file in self._folder.iterdir() if self._folder.is_dir() else ():
            try:
                changed_at = file.stat(follow_symlinks=False).st_mtime
            except FileNotFoundError:
                continue  # it arrived meanwhile, and has another name now
            if changed_at >= before:
                continue
            if file.name.endswith(".part"):
                file.unlink(missing_ok=True)
            else:
                found.append(file.name)
        return found

    def _create(self, part: Path) -> int:
        private_dir(self._folder)
        return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _path(self, file_id: str) -> Path:
        return self._folder / check_id(file_id)


@contextmanager
def _as_store_error(verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot {verb} attachments ({error.strerror})", hint="look at the relay's disk") from error


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
