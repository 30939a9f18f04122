"""The file in which every interactive Claude Code says what it does: `<config>/sessions/<pid>.json` (2.1.197).

It flips within 80 ms and knows what fires no hook: Escape, dialogs, background agents, a new session after /clear. It
is not documented, so it corroborates hooks and stands in for them, and nothing breaks where it is missing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from relay_runner.providers.claude.home import ClaudeHome
from relay_runner.providers.tail import readable
from relay_runner.terminal.base import ProcessIdentity

BUSY = "busy"
WAITING = "waiting"
IDLE = frozenset({"idle", "shell"})
"""`shell` is idle with a background command still running."""
ASKING = frozenset({"permission prompt", "input needed"})
"""What it waits for when the model asks something; `input needed` is 2.1.332's word for questions."""
LOGGED_CHARS = 2000
DIALOG_OPEN = "dialog open"
"""What it waits for when a person opened something, or the program shows something by itself."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the program last said of itself."""

    status: str
    since: float
    """When the status became this one, epoch seconds."""
    session_id: str
    waiting_for: str | None = None

    @property
    def idle(self) -> bool:
        """Whether it would work on a new message at once."""
        return self.status in IDLE


class _File(msgspec.Struct, rename="camel"):
    pid: int
    session_id: str
    status: str = ""
    status_updated_at: float = 0.0
    waiting_for: str | None = None
    proc_start: str = ""


class StateFile:
    """The state file of one process, read again only when it changed."""

    def __init__(self, home: ClaudeHome, process: ProcessIdentity) -> None:
        self._home = home
        self._process = process
        self._pid = process.pid
        self._stamp: tuple[int, int, int] | None = None
        self._reading: Reading | None = None

    def read(self) -> Reading | None:
        """Return the current reading, or None while there is no file of this process.

        Raise `ProviderError` when there is one that cannot be read.
        """
        path = self._home.state_file(self._pid)
        try:
            with readable(path):
                status = path.stat()
        except FileNotFoundError:
            self._pid = self._child_with_file() or self._process.pid
            self._stamp = self._reading = None
            return None
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp and (reading := self._parse(path)) is not None:
            self._stamp, self._reading = stamp, reading
        return self._reading

    def text(self) -> str:
        """Return what the file says, for the log."""
        path = self._home.state_file(self._pid)
        try:
            return path.read_text(encoding="utf-8", errors="replace")[:LOGGED_CHARS]
        except OSError as error:
            return f"{path.name}: {error.strerror}"

    def _parse(self, path: Path) -> Reading | None:
        """Return what the file says; None when it is being written, or left by an older process with this pid."""
        try:
            with readable(path):
                file = msgspec.json.decode(path.read_bytes(), type=_File)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        ours = self._pid != self._process.pid or file.proc_start in ("", str(self._process.started))
        if not ours or not file.status:
            return None
        return Reading(file.status, file.status_updated_at / 1000, file.session_id, file.waiting_for)

    def _child_with_file(self) -> int | None:
        """Return the child of a wrapper (npm's, without its postinstall step) that is the program itself."""
        pid = self._process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        except OSError:
            return None
        found = (int(child) for child in children if os.path.exists(self._home.state_file(int(child))))  # noqa: PTH110
        return next(found, None)
