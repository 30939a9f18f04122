"""What is remembered of an agent's Codex from one process to the next: `codex.json` in its folder, 0600."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from relay_runner.config import write_private

log = logging.getLogger(__name__)

FILE = "codex.json"
KEPT = 200
LOST = 20


class Stage(StrEnum):
    """Where the app-server of an agent stands."""

    DECLARED = "declared"
    """Nothing was started yet."""
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    """It runs, and its connection or its thread is not as it should be."""
    STOPPING = "stopping"
    STOPPED = "stopped"


class Remembered(msgspec.Struct, rename="camel", omit_defaults=True):
    """The file's shape."""

    stage: Stage = Stage.DECLARED
    started_at: float | None = None
    ready_at: float | None = None
    error: str | None = None
    error_at: float | None = None
    lost: list[str] = []
    """Sessions that could not be resumed any more, the newest last."""
    injected: list[str] = []
    """Ids of what was put into the context."""
    aside: str | None = None
    """The thread whose goal is put aside for a message."""
    noticed: str | None = None
    """The last turn before which the model was told of a restart."""


class Memo:
    """The file; every change is written at once. One that cannot be read is begun anew: nothing depends on it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._now = self._read()

    @property
    def stage(self) -> Stage:
        """Return where it stands."""
        return self._now.stage

    @property
    def injected(self) -> list[str]:
        """Return the ids of what was put into the context."""
        return self._now.injected

    @property
    def aside(self) -> str | None:
        """Return the thread whose goal is put aside."""
        return self._now.aside

    @property
    def lost(self) -> list[str]:
        """Return the sessions that were lost."""
        return self._now.lost

    @property
    def noticed(self) -> str | None:
        """Return the turn after which the model was told of a restart last."""
        return self._now.noticed

    def became(self, stage: Stage, now: float, error: str | None = None) -> dict[str, Any]:
        """Note a stage, and return what others are told of it."""
        match stage:
            case Stage.STARTING:
                self._now.started_at = now
            case Stage.READY:
                self._now.ready_at = now
        if error is not None:
            self._now.error, self._now.error_at = error, now
        self._now.stage = stage
        self._write()
        return self.life()

    def life(self) -> dict[str, Any]:
        """Return where it stands, since when, and the last error."""
        it = self._now
        told = {
            "stage": str(it.stage),
            "startedAt": it.started_at,
            "readyAt": it.ready_at,
            "error": it.error,
            "errorAt": it.error_at,
            "lostSessions": list(it.lost),
        }
        return {name: value for name, value in told.items() if value}

    def lose(self, session_id: str) -> None:
        """Note a session that is lost."""
        self._now.lost = [*self._now.lost, session_id][-LOST:]
        self._write()

    def inject(self, id: str) -> None:
        """Note what was put in."""
        self._now.injected = [*self._now.injected, id][-KEPT:]
        self._write()

    def put_aside(self, thread_id: str | None) -> None:
        """Note whose goal is put aside; None: nobody's."""
        self._now.aside = thread_id
        self._write()

    def notice(self, turn_id: str) -> None:
        """Note that the model was told of a restart after this turn."""
        self._now.noticed = turn_id
        self._write()

    def _read(self) -> Remembered:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Remembered)
        except FileNotFoundError:
            return Remembered()
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read and is begun anew: %s", self._file, error)
            return Remembered()

    def _write(self) -> None:
        try:
            write_private(self._file, msgspec.json.encode(self._now))
        except OSError as error:
            log.warning("%s cannot be written: %s", self._file, error)
