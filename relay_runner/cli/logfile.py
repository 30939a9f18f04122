"""Show a log file's end, and what is added to it, across its rotation."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator
from io import BufferedReader
from pathlib import Path

from relay_runner.errors import StoreError

POLL_S = 0.25


def read(
    log: Path, count: int, *, follow: bool = False, sleep: Callable[[float], object] = time.sleep
) -> Generator[str, None, None]:
    """Yield the last `count` lines of a log, then with `follow` every line that is added, for ever.

    A log that was rotated away is read to its end before the new one; one that is not there yet is waited for.
    """
    stream = _open(log)
    try:
        *whole, rest = (stream.read() if stream is not None else b"").split(b"\n")
        yield from map(_text, _last(log, whole, count))
        while follow:
            data = stream.read() if stream is not None else b""
            *whole, rest = (rest + data).split(b"\n")
            yield from map(_text, whole)
            fresh = None if data else _replacement(log, stream)
            if fresh is not None:
                if stream is not None:
                    stream.close()
                stream = fresh
            elif not data:
                sleep(POLL_S)
        if rest and count:
            yield _text(rest)
    finally:
        if stream is not None:
            stream.close()


def _last(log: Path, lines: list[bytes], count: int) -> list[bytes]:
    """Return the last lines, those of the file that the log was rotated to included where they are needed."""
    kept: deque[bytes] = deque(maxlen=count)
    if len(lines) < count and (rotated := _open(log.with_name(log.name + ".1"))) is not None:
        with rotated:
            kept.extend(line.rstrip(b"\n") for line in rotated)
    kept.extend(lines)
    return list(kept)


def _replacement(log: Path, stream: BufferedReader | None) -> BufferedReader | None:
    """Return the new file under the log's name, or None while it is the one we read."""
    fresh = _open(log)
    if fresh is None or stream is None or _identity(fresh) != _identity(stream):
        return fresh
    fresh.close()
    return None


def _identity(stream: BufferedReader) -> tuple[int, int]:
    status = os.fstat(stream.fileno())
    return status.st_dev, status.st_ino


def _open(log: Path) -> BufferedReader | None:
    try:
        return log.open("rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {log}: {error.strerror}") from error


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
