"""A file on its way to this machine's disk: whole, checked, and where it belongs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay_runner.errors import ProtocolError, RelayNotFound
from relay_runner.protocol.attachments import Attachment, NewAttachment
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.relay.saving import arriving, matches

pytestmark = pytest.mark.anyio


async def given(relay: MemoryRelay, content: bytes = b"hello" * 50_000) -> Attachment:
    async def data() -> AsyncIterator[bytes]:
        yield content

    return await relay.upload(NewAttachment(name="a.tar.gz", size=len(content)), data)


async def test_it_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    relay = MemoryRelay()
    made = await given(relay)
    async with arriving(relay, made.id, tmp_path) as arrived:
        assert not (tmp_path / "x").exists() and arrived.content() == b"hello" * 50_000
        assert arrived.keep("x") == tmp_path / "x"
    assert matches(tmp_path / "x", made) and (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


async def test_what_nobody_keeps_is_gone(tmp_path: Path) -> None:
    relay = MemoryRelay()
    async with arriving(relay, (await given(relay)).id, tmp_path):
        pass
    with pytest.raises(RelayNotFound):
        async with arriving(relay, "0" * 32, tmp_path):
            raise AssertionError("it is not there")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"hellO" * 50_000, b"hello", b"hello" * 60_000, b""])
async def test_what_arrives_changed_is_not_kept(tmp_path: Path, content: bytes) -> None:
    relay = MemoryRelay()
    made = await given(relay)
    relay.hub.files.spoil(made.id, content)
    with pytest.raises(ProtocolError, match="arrived changed"):
        async with arriving(relay, made.id, tmp_path):
            raise AssertionError("it is not what was sent")
    assert list(tmp_path.iterdir()) == []


async def test_no_link_leads_it_elsewhere(tmp_path: Path) -> None:
    relay = MemoryRelay()
    made = await given(relay)
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (outside / "precious").write_text("mine")
    (folder / "x").symlink_to(outside / "precious")
    async with arriving(relay, made.id, folder) as arrived:
        arrived.keep("x")
    assert (outside / "precious").read_text() == "mine" and not (folder / "x").is_symlink()
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(OSError):
        async with arriving(relay, made.id, tmp_path / "link"):
            raise AssertionError("a link is no folder")
    (folder / "y").symlink_to(folder / "x")
    assert matches(folder / "x", made) and not matches(folder / "y", made)


async def test_beside_what_is_there_it_gets_a_number(tmp_path: Path) -> None:
    relay = MemoryRelay()
    made = await given(relay)
    (tmp_path / "a.tar.gz").write_text("mine")
    names = []
    for name in ("a.tar.gz", "a.tar.gz", ".x", ".x"):
        async with arriving(relay, made.id, tmp_path) as arrived:
            names.append(arrived.keep_beside(name).name)
    assert names == ["a.tar-2.gz", "a.tar-3.gz", ".x", ".x-2"]
    assert (tmp_path / "a.tar.gz").read_text() == "mine"


def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not matches(tmp_path / "pipe", Attachment(id="0" * 32, name="x", size=0, sha256="x"))
