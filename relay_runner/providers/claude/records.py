"""What Claude Code writes down while it runs: its state file and its transcripts, handed to the tracker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay_runner.providers.base import NOT_FOUND, Event, Evidence, LaunchPlan
from relay_runner.providers.claude import transcript
from relay_runner.providers.claude.home import ClaudeHome
from relay_runner.providers.claude.state_file import StateFile
from relay_runner.providers.claude.turns import Tracker
from relay_runner.providers.tail import JsonLines
from relay_runner.terminal.base import ProcessIdentity


class Records:
    """The files of one process; every call reads only what is new."""

    def __init__(
        self,
        home: ClaudeHome,
        cwd: Path,
        plan: LaunchPlan,
        process: ProcessIdentity,
        tracker: Tracker,
        *,
        adopted: bool,
    ) -> None:
        self._home = home
        self._cwd = cwd
        self._tracker = tracker
        self._state_file = StateFile(home, process)
        self._sessions = [plan.session_id] if plan.session_id else []
        self._lines: JsonLines | None = None
        if plan.session_id:
            # What stands in a resumed transcript is an older process's; what an adopted one wrote is its own.
            self._lines = JsonLines(self._transcript(plan.session_id), at_end=plan.resumed and not adopted)
        if adopted and self._lines is not None:
            tracker.recall(self._lines.read())

    def look(self, now: float) -> list[Event]:
        """Return what follows from everything that was written since the last look."""
        events = self._read_lines(now)
        reading = self._state_file.read()
        events += self._tracker.read(reading, now)
        if reading is not None and reading.session_id not in self._sessions:
            self._switch(reading.session_id, self._transcript(reading.session_id))
        return events

    def follow(self, payload: Mapping[str, Any], now: float) -> list[Event]:
        """Read up to now, then go on with the transcript that a hook names."""
        events = self._read_lines(now)
        session_id, path = str(payload.get("session_id") or ""), payload.get("transcript_path")
        if session_id and path and (self._lines is None or Path(str(path)) != self._lines.path):
            self._switch(session_id, Path(str(path)))
            events += self._read_lines(now)
        return events

    def find(self, nonce: str) -> Evidence:
        """Return what the transcripts of this process say of a message, newest session first."""
        paths = [self._lines.path] if self._lines is not None else []
        paths += [path for session in reversed(self._sessions) if (path := self._home.transcript(session)) is not None]
        for path in dict.fromkeys(paths):
            evidence = transcript.find(path, nonce)
            if evidence.seen:
                return evidence
        return NOT_FOUND

    def _read_lines(self, now: float) -> list[Event]:
        if self._lines is None or not self._lines.grown():
            return []
        return self._tracker.lines(self._lines.read(), now)

    def _switch(self, session_id: str, path: Path) -> None:
        if session_id not in self._sessions:
            self._sessions.append(session_id)
        if self._lines is None or self._lines.path != path:
            self._lines = JsonLines(path)

    def _transcript(self, session_id: str) -> Path:
        """Return where the session's transcript is, or will be, in a folder named after the working folder."""
        folder = re.sub(r"[^A-Za-z0-9]", "-", str(self._cwd.resolve()))
        expected = self._home.config_dir / "projects" / folder / f"{session_id}.jsonl"
        return expected if expected.exists() else self._home.transcript(session_id) or expected
