"""A full disk is said, held out, and got over."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.runner import disk
from relay_runner.runner.disk import Disk
from relay_runner.runner.journal import Journal
from relay_runner.runner.work import Work
from tests.terminals import until
from tests.unit.runner.test_database import BIG, fill, make_room

pytestmark = pytest.mark.anyio


class Place:
    """A journal on a disk that can be filled."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.journal = journal
        self.work = Work()
        self.published = 0
        self.disk = Disk(journal, self.work, folder, publish=self.publish)

    def publish(self) -> None:
        self.published += 1


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(disk, "LOOK_S", 0.01)
    with Journal(tmp_path / "journal.db") as journal:
        yield Place(tmp_path, journal)


async def test_it_is_said_and_over_when_there_is_room(place: Place) -> None:
    rewritten: list[str | None] = []
    place.disk.on_room = lambda: rewritten.append(place.work.disk)
    async with asyncio.TaskGroup() as group:
        service = group.create_task(place.disk.run())
        fill(place.journal)
        place.journal.remember("a", BIG)
        place.journal.remember("b", BIG)
        assert place.published == 1
        status = place.work.status(1.0)
        assert status.detail is not None and status.detail.startswith("disk full: ")
        assert status.busy_reasons[0] == status.detail
        make_room(place.journal)
        await until(lambda: place.work.disk is None)
        service.cancel()
    assert rewritten == [None] and place.published == 2
    assert not place.journal.held_in_memory and place.journal.fact("b") == BIG


async def test_a_file_that_does_not_fit_holds_it_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, data: bytes) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(Path, "write_bytes", write)
    number = errno.EACCES
    assert place.disk.has_room() and place.work.disk is None
    number = errno.ENOSPC
    assert not place.disk.has_room() and place.work.disk is not None


async def test_a_journal_at_rest_gives_its_room_back(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "CHECKPOINT_S", 0.01)
    place.journal.remember("a", BIG)
    log = tmp_path / "journal.db-wal"
    assert log.stat().st_size > 0
    async with asyncio.TaskGroup() as group:
        service = group.create_task(place.disk.run())
        await until(lambda: log.stat().st_size == 0)
        service.cancel()


@pytest.mark.parametrize(("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_what_says_that_there_is_no_room(number: int, full: bool) -> None:
    assert disk.no_room(OSError(number, "no")) is full
