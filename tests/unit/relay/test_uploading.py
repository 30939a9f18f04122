"""Which files can be sent, and what is said of those that cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay_runner.errors import ConfigError, ProtocolError
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.relay.uploading import give, look

pytestmark = pytest.mark.anyio


async def test_files_are_uploaded_as_they_are(tmp_path: Path) -> None:
    relay = MemoryRelay()
    contents = {"a.png": b"\x89PNG" * 100_000, "b.tar.gz": b"x", "c": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    ids = await give(relay, look([str(tmp_path / name) for name in contents]))
    kinds = []
    for attachment_id, content in zip(ids, contents.values(), strict=True):
        async with relay.download(attachment_id) as found:
            assert b"".join([chunk async for chunk in found.chunks]) == content
            kinds.append(found.attachment.content_type)
    assert kinds == ["image/png", "application/octet-stream", "application/octet-stream"]
    assert await give(relay, []) == ()


def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, word in {"none": "No such file", "pipe": "not a file", ".": "not a file", "loop": "cannot read"}.items():
        with pytest.raises(ConfigError, match=word) as caught:
            look([str(tmp_path / name)])
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="at most 20"):
        look(["x"] * 21)


async def test_one_that_is_too_large_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    relay = MemoryRelay()
    relay.hub.files.limit = 3
    for name in ("good", "large"):
        (tmp_path / name).write_text(name[:3] if name == "good" else name)
    with pytest.raises(ConfigError, match="large is larger than 3 bytes"):
        await give(relay, look([str(tmp_path / "good"), str(tmp_path / "large")]))
    assert relay.hub.files._kept == {}


async def test_one_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("some lines")
    (growing,) = look([str(tmp_path / "log")])
    (tmp_path / "log").write_text("some lines and more")
    relay = MemoryRelay()
    (attachment_id,) = await give(relay, [growing])
    assert relay.hub.files.content(attachment_id) == b"some lines"
    (tmp_path / "log").write_text("some")
    with pytest.raises(ConfigError, match="became shorter"):
        await give(relay, [growing])


async def test_one_that_arrives_changed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("x")
    (upload,) = look([str(tmp_path / "x")])
    relay = MemoryRelay()
    upload.size = 1
    original = relay.upload

    async def lossy(new: object, data: object) -> object:
        from msgspec.structs import replace

        return replace(await original(new, data), sha256="0")  # type: ignore[arg-type]

    monkeypatch.setattr(relay, "upload", lossy)
    with pytest.raises(ProtocolError, match="arrived changed"):
        await give(relay, [upload])


def test_an_agent_takes_files_of_its_own_folders_only(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        folder.mkdir()
        (folder / "x").write_text("x")
    (mine / "link").symlink_to(other / "x")
    assert look([str(mine / "x")], allowed=[mine])
    (mine / "other-name").hardlink_to(other / "x")
    with pytest.raises(ConfigError, match=r"hard links.*send a copy"):
        look([str(mine / "other-name")], allowed=[mine])
    assert look([str(mine / "other-name")]), "a person's files are the person's business"
    for name in (other / "x", mine / ".." / "other" / "x", mine / "link"):
        with pytest.raises(ConfigError, match="its own folder only"):
            look([str(name)], allowed=[mine])
