"""Show a log file's end, and what is added to it, across its rotation."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

from relay_runner.errors import StoreError

POLL_S = 0.25


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last `count` lines of the log and of the file it was rotated to; none where there is no log yet."""
    kept: deque[str] = deque(maxlen=count)
    for file in (log.with_name(log.name + ".1"), log):
        try:
            with file.open(encoding="utf-8", errors="replace") as stream:
                kept.extend(text.rstrip("\n") for text in stream)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"cannot read {file}: {error.strerror}") from error
    return list(kept)


def follow(log: Path, *, sleep: Callable[[float], object] = time.sleep) -> Iterator[str]:
    """Yield every line that is added from now on, for ever; a rotated file is read to its end first."""
    stream = _open(log)
    if stream is not None:
        stream.seek(0, 2)
    rest = b""
    while True:
        data = stream.read() if stream is not None else b""
        *whole, rest = (rest + data).split(b"\n")
        for text in whole:
            yield text.decode("utf-8", "replace")
        if data:
            continue
        fresh = _replaced(log, stream)
        if fresh is not None:
            if stream is not None:
                stream.close()
            stream = fresh
        else:
            sleep(POLL_S)


def _replaced(log: Path, stream: BufferedReader | None) -> BufferedReader | None:
    """Return the new file under the log's name, or None while it is the one we read."""
    fresh = _open(log)
    if fresh is None or stream is None:
        return fresh
    if _identity(fresh) == _identity(stream):
        fresh.close()
        return None
    return fresh


def _identity(stream: BufferedReader) -> tuple[int, int]:
    import os

    status = os.fstat(stream.fileno())
    return status.st_dev, status.st_ino


def _open(log: Path) -> BufferedReader | None:
    try:
        return log.open("rb")
    except FileNotFoundError:
        return None
