"""Follow a JSON Lines file that another program writes: a transcript, an event log.

`JsonLines` reads what was added since the last time: it survives a file that is not there yet, a line that is only half
written, a file that was truncated and one that was replaced. A file that is there and cannot be read is a
`ProviderError`, after which reading goes on where it was. `Follower` polls one, quickly while something happens and
slowly while nothing does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relay_runner.errors import ProtocolError, ProviderError
from relay_runner.protocol.wire import decode_foreign

EAGER_S = 0.002
FAST_S = 0.03
SLOW_S = 1.0
_SLOWER = 1.25
_CHUNK = 1 << 20
STRANGE = (LookupError, TypeError, ValueError, AttributeError)
"""What reading a value fails with that another version of a program writes in another shape than is known."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise `ProviderError` for a file that is there and cannot be read; a missing one stays `FileNotFoundError`."""
    try:
        yield
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from error
    except OSError as error:
        raise ProviderError(f"cannot read {path} ({error.strerror or error})") from error


class JsonLines:
    """The complete lines of one file, each once, as decoded JSON values."""

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        """Read from the start, or with `at_end` only what is added from now on."""
        self.path = path
        self.skipped = 0
        """How many lines were not JSON."""
        self.restarts = 0
        """How often the file was truncated or replaced; everything in it was read again then."""
        self._file: tuple[int, int] | None = None
        self._offset = 0
        self._partial = b""
        if at_end:
            self._to_end()

    def read(self, *, containing: bytes = b"") -> Iterator[Any]:
        """Yield what was added; only lines that hold `containing` are decoded, which makes searching a big file cheap.

        Reading stops for good at the first value the caller does not ask for: what was not yielded comes next time.
        """
        for value, _ in self.marked(containing):
            yield value

    def marked(self, containing: bytes = b"", *, by: bytes = b"") -> Iterator[tuple[Any, bool]]:
        """Yield as `read` does, and with each value whether its line holds `by`."""
        for line in self.raw():
            if containing not in line:
                continue
            try:
                value = decode_foreign(line)
            except ProtocolError:
                self.skipped += 1
                continue
            yield value, by in line

    def raw(self) -> Iterator[bytes]:
        """Yield the lines that were added, as they are."""
        try:
            with readable(self.path):
                descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            with readable(self.path):
                self._check(os.fstat(descriptor))
            while chunk := self._chunk(descriptor):
                yield from self._lines(chunk)
        finally:
            os.close(descriptor)

    @property
    def rest(self) -> bytes:
        """What was read after the last whole line: one that is being written, or never was to its end."""
        return self._partial

    def grown(self) -> bool:
        """Say, by one stat, whether `read` would find something."""
        try:
            with readable(self.path):
                status = self.path.stat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) != self._file or status.st_size != self._offset + len(self._partial)

    def _chunk(self, descriptor: int) -> bytes:
        with readable(self.path):
            return os.pread(descriptor, _CHUNK, self._offset + len(self._partial))

    def _check(self, status: os.stat_result) -> None:
        file = (status.st_dev, status.st_ino)
        known = self._offset + len(self._partial)
        if self._file is not None and (file != self._file or status.st_size < known):
            self.restarts += 1
            self._offset, self._partial = 0, b""
        self._file = file

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        if b"\n" not in chunk:
            self._partial += chunk
            return
        *lines, rest = (self._partial + chunk).split(b"\n")
        self._partial = b""
        for line in lines:
            # Moved on before the yield: a line is taken even if its reader fails over it.
            self._offset += len(line) + 1
            if line.strip():
                yield line
        self._partial = rest

    def _to_end(self) -> None:
        try:
            with readable(self.path):
                data = self.path.read_bytes()
                status = self.path.stat()
        except FileNotFoundError:
            return
        self._file = (status.st_dev, status.st_ino)
        self._offset = data.rfind(b"\n") + 1


class Follower:
    """Poll one file: `fast_s` after something came, at once after a nudge, then ever slower down to `slow_s`.

    A poll that finds nothing is one stat.
    """

    def __init__(self, lines: JsonLines, *, fast_s: float = FAST_S, slow_s: float = SLOW_S) -> None:
        self._lines = lines
        self._fast_s = fast_s
        self._slow_s = slow_s
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Look at once and quickly again for a while: something is expected."""
        self._nudged.set()

    async def batches(self) -> AsyncIterator[list[Any]]:
        """Yield what was added, whenever something was, for ever; cancelling is safe."""
        pause = self._fast_s
        while True:
            if self._lines.grown() and (batch := list(self._lines.read())):
                pause = self._fast_s
                yield batch
                continue
            pause = await self._pause(pause)

    async def _pause(self, seconds: float) -> float:
        """Wait, and return how long to wait the next time."""
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return min(self._slow_s, seconds * _SLOWER)
        self._nudged.clear()
        return min(EAGER_S, self._fast_s)


def scan(path: Path, *, containing: bytes = b"") -> Iterator[Any]:
    """Yield every value of a JSON Lines file from its start; only lines with `containing` are decoded."""
    return JsonLines(path).read(containing=containing)


def scan_marked(path: Path, by: bytes) -> Iterator[tuple[Any, bool]]:
    """Yield every value of a JSON Lines file from its start, and whether its line holds `by`."""
    return JsonLines(path).marked(by=by)


def mentions(path: Path, words: bytes) -> bool:
    """Say whether a file holds `words` in any line, one that was only half written included."""
    lines = JsonLines(path)
    return any(words in line for line in lines.raw()) or words in lines.rest
