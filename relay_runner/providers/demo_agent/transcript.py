"""What the demo agent writes down: one JSON object a line, on disk before anything is shown."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Transcript:
    """One session's JSON Lines file; a resumed session goes on in the same one, a new one begins the next file."""

    def __init__(self, path: Path, session: str) -> None:
        self.path = path
        self.session = session

    def write(self, kind: str, **values: Any) -> None:
        """Append one event; it is durable when this returns."""
        line = json.dumps({"type": kind, "at": time.time(), **values}, ensure_ascii=False)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            # A line that was cut by a crash must not swallow this one.
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            file.write((b"\n" if torn else b"") + line.encode("utf-8", "replace") + b"\n")
            file.flush()
            if self.path.is_file():
                os.fsync(descriptor)

    def renew(self, session: str, *, process: str | None) -> None:
        """Begin a new session: in a file of its own beside this one, which names it in its last line."""
        self.write("cleared", next=session)
        self.session = session
        if self.path.is_file():
            self.path = self.path.with_name(f"{session}.jsonl")
        self.write("session", session=session, process=process, resumed=False, cleared=True)

    def context(self) -> list[str]:
        """Return what the session was given as context."""
        return [str(event["text"]) for event in self._events() if event.get("type") == "context"]

    def unfinished(self) -> dict[str, Any] | None:
        """Return the `turn-started` of a turn that an earlier process of this session did not end."""
        started: dict[str, Any] | None = None
        for event in self._events():
            if event.get("type") == "turn-started":
                started = event
            elif event.get("type") == "turn-ended":
                started = None
        return started

    def _events(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        events = []
        for line in self.path.read_bytes().split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:
                continue  # torn by a crash
            if isinstance(event, dict):
                events.append(event)
        return events
