"""What Claude Code writes down while it runs: its state file and its transcripts, handed to the tracker."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from relay_runner.errors import ProviderError
from relay_runner.providers.base import Event, LaunchPlan
from relay_runner.providers.claude import transcript
from relay_runner.providers.claude.home import ClaudeHome
from relay_runner.providers.claude.state_file import StateFile
from relay_runner.providers.claude.turns import Tracker
from relay_runner.providers.tail import STRANGE, JsonLines
from relay_runner.terminal.base import ProcessIdentity

log = logging.getLogger(__name__)
_OTHERS = re.compile(r"[^A-Za-z0-9]")

WRITTEN_S = 1.0
"""How far the transcript may be behind; a few hundred milliseconds were seen on a busy machine."""
LATE_S = 3.0
"""The same before a message is given up for which it has no end: on a very busy machine."""


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
        watchers: Iterable[Callable[[Any], None]] = (),
        on_recalled: Callable[[], None] = lambda: None,
    ) -> None:
        """`watchers` are shown every line before the tracker is; `on_recalled`: what an earlier runner saw is over."""
        self._home = home
        self._cwd = cwd
        self._tracker = tracker
        self._state_file = StateFile(home, process)
        self._sessions = [plan.session_id] if plan.session_id else []
        self._lines: JsonLines | None = None
        if plan.session_id:
            # What stands in a resumed transcript is an older process's; what an adopted one wrote is its own.
            self._lines = JsonLines(self._expected(plan.session_id), at_end=plan.resumed and not adopted)
        self._recalling = adopted
        self._watchers = tuple(watchers)
        self._on_recalled = on_recalled
        self._since: float | None = None

    def look(self, now: float) -> Iterator[Event]:
        """Yield what follows from everything that was written since the last look.

        Raise `ProviderError` when a file cannot be read; what the others said was yielded before. A state file that
        cannot be read says nothing: what it said last may be over.
        """
        if self._recalling:
            self._since = now if self._since is None else self._since
            if now - self._since < WRITTEN_S:
                return  # what an adopted program did last may not be written yet
        reading, trouble = None, list[ProviderError]()
        try:
            yield from self._read_lines(now)
        except ProviderError as error:
            trouble.append(error)
        try:
            reading = self._state_file.read()
        except ProviderError as error:
            trouble.append(error)
        yield from self._tracker.read(reading, now)
        if reading is not None and reading.session_id not in self._sessions:
            self._switch(reading.session_id, self._expected(reading.session_id))
        if trouble:
            raise trouble[0]

    def follow(self, payload: Mapping[str, Any], now: float) -> Iterator[Event]:
        """Read up to now, then go on with the transcript that a hook names; raises as `look` does."""
        session_id, path = str(payload.get("session_id") or ""), payload.get("transcript_path")
        try:
            yield from self._read_lines(now)
        finally:
            switched = session_id and path and (self._lines is None or Path(str(path)) != self._lines.path)
            if switched:
                self._switch(session_id, Path(str(path)))
        if switched:
            yield from self._read_lines(now)

    def written(self, now: float) -> bool:
        """Say whether the transcript has all that happened: it is written a little after the state file changes."""
        reading = self._state_file.read()
        return reading is None or now - reading.since >= LATE_S

    def state_text(self) -> str:
        """Return what the state file says, for the log."""
        return self._state_file.text()

    def file(self) -> Path | None:
        """Return the present session's transcript; None before anything was said in it."""
        path = self._lines.path if self._lines is not None else None
        return path if path is not None and os.path.exists(path) else None  # noqa: PTH110 - as in `_expected`

    def trace(self, nonce: str) -> transcript.Trace:
        """Return what the transcripts of this process hold of a message, the newest session first."""
        paths = [self._lines.path] if self._lines is not None else []
        paths += [path for session in reversed(self._sessions) if (path := self._home.transcript(session)) is not None]
        unseen = transcript.Trace()
        for number, path in enumerate(dict.fromkeys(paths)):
            found = transcript.trace(path, nonce)
            if found.turn is not None or found.shown:
                return found
            if number == 0 or found.strange or found.waiting:
                unseen = found
        return unseen

    def _read_lines(self, now: float) -> list[Event]:
        if self._recalling:
            self._tracker.recall(self._shown(self._lines) if self._lines is not None else (), now)
            self._recalling = False
            self._on_recalled()
        if self._lines is None or not self._lines.grown():
            return []
        return self._tracker.lines(self._shown(self._lines), now)

    def _shown(self, lines: JsonLines) -> Iterator[Any]:
        for line in lines.read():
            for watcher in self._watchers:
                try:
                    watcher(line)
                except STRANGE as error:
                    log.warning("a line of the transcript has an unknown shape: %r", error)
            yield line

    def _switch(self, session_id: str, path: Path) -> None:
        if session_id not in self._sessions:
            self._sessions.append(session_id)
        if self._lines is None or self._lines.path != path:
            self._lines = JsonLines(path)

    def _expected(self, session_id: str) -> Path:
        """Return where the session's transcript is, or will be, in a folder named after the working folder."""
        folder = _OTHERS.sub("-", str(self._cwd.resolve()))
        expected = self._home.config_dir / "projects" / folder / f"{session_id}.jsonl"
        if os.path.exists(expected):  # noqa: PTH110 - it says no, and raises nothing, where it may not look
            return expected
        return self._home.transcript(session_id) or expected
