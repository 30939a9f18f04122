"""A full disk: the agent holds what is new, says so, and goes on by itself when there is room."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from pathlib import Path

from relay_runner.runner.journal import Journal
from relay_runner.runner.submit import DISK_FULL
from relay_runner.runner.work import Work

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often it is looked whether there is room again."""
CHECKPOINT_S = 60.0
"""How often the journal's log goes into its file, and gives its room back."""
PROBE = b"\0" * 16384
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where a disk, or what this user may have of it, is full."""


class Disk:
    """The disk under one agent's folder."""

    def __init__(self, journal: Journal, work: Work, folder: Path, *, publish: Callable[[], None]) -> None:
        self._journal = journal
        self._work = work
        self._folder = folder
        self._publish = publish
        self._full = asyncio.Event()
        journal.on_full = self.full
        self.on_room: Callable[[], None] = lambda: None
        """Called when there is room again: what could not be written meanwhile is written then."""

    def full(self) -> None:
        """Note that something could not be written, and say so."""
        self._full.set()
        if self._work.disk is None:
            self._work.disk = f"{DISK_FULL}: no space left for {self._folder}; messages wait until there is some"
            self._publish()

    async def run(self) -> None:
        """Keep the journal small; while the disk is full, go on as soon as there is room."""
        while True:
            try:
                async with asyncio.timeout(CHECKPOINT_S):
                    await self._full.wait()
            except TimeoutError:
                self._journal.checkpoint()
                continue
            await self.room()

    async def room(self) -> None:
        """Return when there is room, and what memory held is on the disk."""
        # Nothing tells of room on a disk: it has to be looked at.
        while not (self._probe() and self._journal.recover()):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        if self._work.disk is not None:
            self._full.clear()
            self._work.disk = None
            log.warning("disk space is available again: resuming")
            self.on_room()
            self._publish()

    def has_room(self) -> bool:
        """Say whether there is room; where there is none, the agent holds from now on."""
        room = self._probe()
        if not room:
            self.full()
        return room

    def _probe(self) -> bool:
        """Say whether a small file can be written; whatever else is wrong with it is not about room."""
        file = self._folder / ".room"
        try:
            file.write_bytes(PROBE)
        except OSError as error:
            return error.errno not in NO_ROOM
        finally:
            file.unlink(missing_ok=True)
        return True


def no_room(error: OSError) -> bool:
    """Say whether the system failed for want of room."""
    return error.errno in NO_ROOM
