"""Where the log goes, what is left out of it, and what may never stand in it.

Headless it goes to stderr and `runner.log`, which are one where stderr is a file; where a TUI owns the screen, to
`runner.log` only. The same warning comes once in five minutes. Tokens and keys are blacked out, and control characters
never reach a terminal that shows the log.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from relay_runner.pipes import Heard
from relay_runner.protocol.envelope import sanitise
from relay_runner.protocol.visible import visible

MAX_BYTES = 5_000_000
BACKUPS = 2
REPEAT_S = 300.0
MAX_REMEMBERED = 1000
HIDDEN = "[redacted]"
_MIN_SECRET = 8
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_SECRETS = re.compile(
    r"(?P<keep>\bBearer\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|\bsk-[A-Za-z0-9_-]{8,}",
    re.IGNORECASE,
)
_hidden: set[str] = set()


def setup(file: Path | None = None, *, stderr: bool = True, level: int = logging.INFO) -> None:
    """Send this process's log to stderr and to `file` (0600, rotated by size), whichever of them is asked for.

    Where stderr goes to a file itself, that one is the log, and `file` a link to it: the same is never kept twice.
    """
    handlers: list[logging.Handler] = [Heard()] if stderr else []
    if file is not None and not (stderr and _linked(file)):
        if file.is_symlink():  # to somebody's file of an earlier life, which is not ours to write to
            file.unlink()
        handlers.append(PrivateFile(file, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(Redacting(_FORMAT))
        handler.addFilter(Repeats())
        root.addHandler(handler)
    root.setLevel(level)
    # What these say at INFO is every request, which nobody wants to read.
    for chatty in ("httpx", "httpcore", "websockets", "uvicorn", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _linked(file: Path) -> bool:
    """Make `file` a link to what stderr goes to, where that is a file of this runner alone; say whether it is."""
    with contextlib.suppress(OSError, ValueError):  # no stderr, one that has no name, or nobody who tells
        kept = Path(f"/dev/fd/{sys.stderr.fileno()}").resolve(strict=True)
        # A spawner whose own stderr we have inherited: others write there, too.
        shared = Path(f"/proc/{os.getppid()}/fd/2").readlink() == kept
        if kept.is_file() and not shared:
            if kept != file.resolve():
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                file.unlink(missing_ok=True)
                file.symlink_to(kept)
            return True
    return False


def hide(secret: str) -> None:
    """Black out `secret` wherever it would be logged from now on (the control server's, say)."""
    if len(secret) >= _MIN_SECRET:
        _hidden.add(secret)


def redact(text: str) -> str:
    """Return `text` without bearer tokens, JWTs, API keys and what `hide` was told."""
    for secret in _hidden:
        text = text.replace(secret, HIDDEN)
    return _SECRETS.sub(lambda match: (match["keep"] or "") + HIDDEN, text)


class Redacting(logging.Formatter):
    """Format a record, tracebacks included, then black out secrets and strip control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as it may be written; only its first line begins at the margin, so that none is forged."""
        return visible(sanitise(redact(super().format(record)))).replace("\n", "\n    ")


class Repeats(logging.Filter):
    """Let the same warning or error through once in `REPEAT_S`; what was left out is counted at its next time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record goes through."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.levelno, record.getMessage())
        now = self._clock()
        first_at, dropped = self._seen.get(key, (None, 0))
        if first_at is not None and now - first_at < REPEAT_S:
            self._seen[key] = (first_at, dropped + 1)
            return False
        self._seen.pop(key, None)  # to the end: the dict's order is that of `first_at`
        self._seen[key] = (now, 0)
        if len(self._seen) > MAX_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        if dropped:
            record.msg, record.args = f"{record.getMessage()} ({dropped} more times since)", None
        return True


class PrivateFile(RotatingFileHandler):
    """A log file that only its user can read, from its first byte on."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave a line out that a full disk does not take; whatever else is wrong is told as ever."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def _open(self) -> io.TextIOWrapper:
        # The handler's own _open goes by the umask.
        Path(self.baseFilename).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return io.TextIOWrapper(io.FileIO(descriptor, "a"), encoding=self.encoding, write_through=True)
