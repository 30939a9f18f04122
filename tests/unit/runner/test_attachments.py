"""The files of a message, brought to the agent before the message goes in."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay_runner.errors import RelayUnavailable
from relay_runner.protocol.attachments import Attachment, NewAttachment
from relay_runner.protocol.messages import MESSAGE_TTL_S, Message, NewMessage, State
from relay_runner.relay.base import Download
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.attachments import TRIES, AttachmentCache
from relay_runner.runner.journal import Journal
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


async def given(relay: MemoryRelay, content: bytes = b"hello", name: str = "../../a b.txt") -> Attachment:
    async def data() -> AsyncIterator[bytes]:
        yield content

    return await relay.upload(NewAttachment(name=name, size=len(content)), data)


def message(*attachments: Attachment, id: int = 7) -> Message:
    return Message(
        id=id, sender="person:x", to="agent:b", body="x", created_at=0, expires_at=1, attachments=attachments
    )


class Away(MemoryRelay):
    """A relay whose downloads break."""

    @asynccontextmanager
    async def download(self, attachment_id: str) -> AsyncIterator[Download]:
        raise RelayUnavailable("it hung up")
        yield


async def test_a_message_goes_in_with_the_paths_of_its_files(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        made, lost = await given(desk.operator), await given(desk.operator, b"gone", "lost.txt")
        desk.operator.hub.files.spoil(lost.id, b"rot")
        id = await desk.send("see", attachments=(made.id, lost.id))
        (submission,) = await desk.process.until(1)
        lines = submission.text.splitlines()
        assert ' attachments="2" note=' in lines[0] and lines[1] == "see"
        file = Path(lines[2].partition('path="')[2].partition('"')[0])
        assert file.read_bytes() == b"hello" and file.parent.name == str(id)
        assert file.name == f"{made.id[:12]}-a_b.txt"
        assert all(f'nonce="{submission.nonce}"' in line for line in lines[2:])
        assert "path=" not in lines[3] and 'failed="lost.txt arrived changed"' in lines[3] and lost.id in lines[3]
        desk.sees(submission)
        desk.ends(submission)
        await desk.reaches(id, State.DONE)


async def test_a_file_is_fetched_once_and_again_only_where_it_was_changed(tmp_path: Path) -> None:
    relay = MemoryRelay()
    made = await given(relay)
    cache = AttachmentCache(relay, tmp_path / "files")
    (one,) = await cache.fetch(message(made))
    relay.hub.files.spoil(made.id, b"other")
    assert await cache.fetch(message(made)) == (one,)
    Path(one.path or "").write_bytes(b"hellx")
    (again,) = await cache.fetch(message(made))
    assert again.path is None and again.failed == "a b.txt arrived changed"
    folder = tmp_path / "files" / "7"
    assert folder.stat().st_mode & 0o777 == 0o700 and (tmp_path / "files").stat().st_mode & 0o777 == 0o700


async def test_a_link_in_the_way_is_followed_nowhere(tmp_path: Path) -> None:
    relay = MemoryRelay()
    made = await given(relay)
    (tmp_path / "precious").mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "7").symlink_to(tmp_path / "precious")
    (enclosed,) = await AttachmentCache(relay, tmp_path / "files").fetch(message(made))
    assert enclosed.path is None and enclosed.failed and list((tmp_path / "precious").iterdir()) == []


async def test_a_relay_that_hangs_up_is_asked_again_but_not_for_ever(tmp_path: Path) -> None:
    cache = AttachmentCache(Away(), tmp_path / "files")
    made = Attachment(id="0" * 32, name="x", size=1, sha256="x")
    for _ in range(TRIES - 1):
        with pytest.raises(RelayUnavailable):
            await cache.fetch(message(made))
    (enclosed,) = await cache.fetch(message(made))
    assert enclosed.failed == "it hung up"


async def test_a_file_that_the_relay_gives_away_is_refused_by_its_message(tmp_path: Path) -> None:
    operator = MemoryRelay()
    made = await given(operator)
    stranger = MemoryRelay.of_agent("eve", operator.hub)
    (enclosed,) = await AttachmentCache(stranger, tmp_path / "files").fetch(message(made))
    assert enclosed.path is None and "there is no attachment" in (enclosed.failed or "")


async def test_files_go_when_their_message_is_old(tmp_path: Path) -> None:
    relay = MemoryRelay()
    made = await given(relay)
    cache = AttachmentCache(relay, tmp_path / "files")
    for id in (1, 2, 3):
        await cache.fetch(message(made, id=id))
    now = time.time()
    for id in (1, 2):
        os.utime(tmp_path / "files" / str(id), (0, now - MESSAGE_TTL_S - 1))
    await cache.prune(now, {2})
    assert sorted(folder.name for folder in (tmp_path / "files").iterdir()) == ["2", "3"]
    await AttachmentCache(relay, tmp_path / "none").prune(now, ())


async def test_a_folder_that_cannot_be_looked_through_does_not_end_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "files").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuses)
    await AttachmentCache(MemoryRelay(), tmp_path / "files").prune(time.time(), ())
    assert "Permission denied" in caplog.text


async def test_a_reply_may_carry_what_came(journal: Journal) -> None:
    desk = Desk(journal, MemoryRelay())
    async with desk.running():
        made = await given(desk.operator)
        await desk.send("see", attachments=(made.id,))
        record = await desk.relay.send(NewMessage(to="person:operator", body="back", attachments=(made.id,)))
        assert record.message.attachments == (made,)
