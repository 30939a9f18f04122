"""The files on the disk: whole or not there, and nothing left lying around."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from relay_runner.errors import ProtocolError, RelayNotFound, RelayRefused, StoreError
from relay_runner.server.store.files import SETTLED_S, LocalFiles
from tests.unit.server.store.world import keeping

pytestmark = pytest.mark.anyio


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path / "files")
    received = await files.receive(pieces(b"a" * 300_000, b"", b"b"))
    assert received.size == 300_001
    assert b"".join([chunk async for chunk in files.read(received.id)]) == b"a" * 300_000 + b"b"
    await files.remove([received.id, received.id])
    with pytest.raises(RelayNotFound):
        await anext(files.read(received.id))


async def test_one_above_the_limit_leaves_nothing(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path / "files", limit=3)
    with pytest.raises(RelayRefused):
        await files.receive(pieces(b"ab", b"cd"))
    assert list((tmp_path / "files").iterdir()) == []


async def test_no_id_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    files = LocalFiles(tmp_path / "files")
    for bad in ("../secret", str(tmp_path / "secret"), ""):
        with pytest.raises(ProtocolError):
            await anext(files.read(bad))
        with pytest.raises(ProtocolError):
            await files.remove([bad])


async def test_a_disk_that_takes_nothing_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match="file") as caught:
        await LocalFiles(tmp_path / "file").receive(pieces(b"x"))
    assert "\n" not in str(caught.value)
    (tmp_path / "full").symlink_to("/dev/full")

    class Full(LocalFiles):
        def _create(self, part: Path) -> int:
            return os.open("/dev/full", os.O_WRONLY)

    with pytest.raises(StoreError, match="No space left"):
        await Full(tmp_path / "files").receive(pieces(b"x"))


async def test_what_a_relay_that_died_left_is_cleared_away_but_not_what_is_arriving(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        folder = tmp_path / "relay-attachments"
        kept = await keeper.store.files.receive(pieces(b"arrived, and its row is about to be written"))
        for name in (".abc.part", "0" * 32):
            (folder / name).write_bytes(b"x")
            os.utime(folder / name, (1.0, 1.0))
        (folder / ".new.part").write_bytes(b"arriving")
        await keeper.store.tidy()
        assert {file.name for file in folder.iterdir()} == {kept.id, ".new.part"}
        assert SETTLED_S > 60


async def test_an_upload_that_arrives_while_the_folder_is_looked_through_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(tmp_path) as keeper:
        files = keeper.store.files
        kept = await files.receive(pieces(b"x"))
        os.utime(tmp_path / "relay-attachments" / kept.id, (1.0, 1.0))
        listed = Path.iterdir

        def with_one_that_is_renamed(folder: Path) -> Iterator[Path]:
            yield folder / ".abc.part"
            yield from listed(folder)

        monkeypatch.setattr(Path, "iterdir", with_one_that_is_renamed)
        assert await files.settled() == [kept.id]


async def test_a_folder_that_cannot_be_tidied_is_an_error_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which the relay logs and survives."""
    files = LocalFiles(tmp_path / "files")
    kept = await files.receive(pieces(b"x"))

    def refuses(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("iterdir", "unlink"):
        monkeypatch.setattr(Path, name, refuses)
    with pytest.raises(StoreError, match="Permission denied"):
        await files.settled()
    with pytest.raises(StoreError, match="Permission denied"):
        await files.remove([kept.id])
