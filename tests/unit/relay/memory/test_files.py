"""The attachments of a relay in memory, beyond the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from relay_runner.protocol.attachments import NewAttachment
from relay_runner.relay.memory.relay import MemoryRelay

pytestmark = pytest.mark.anyio


async def test_a_disk_that_spoils_a_file_is_played(anyio_backend: str) -> None:
    async def data() -> AsyncIterator[bytes]:
        yield b"good"

    relay = MemoryRelay()
    made = await relay.upload(NewAttachment(name="x", size=4), data)
    relay.hub.files.spoil(made.id, b"evil")
    async with relay.download(made.id) as found:
        assert found.attachment == made
        assert [chunk async for chunk in found.chunks] == [b"evil"]
