"""When an attachment goes, and its file with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay_runner.errors import RelayNotFound
from relay_runner.protocol.attachments import UNUSED_S, Attachment
from relay_runner.protocol.messages import Receipt, State
from relay_runner.server.store import attachments
from relay_runner.server.store.tidy import MESSAGES_KEPT_S
from tests.unit.server.store.world import OPERATOR_CALLER, Keeper, agent_caller, keeping

pytestmark = pytest.mark.anyio


async def give(keeper: Keeper, content: bytes = b"x") -> Attachment:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    received = await keeper.store.files.receive(chunks())
    made = Attachment(id=received.id, name="n", size=received.size, sha256=received.sha256)
    return await keeper.store.put_attachment(OPERATOR_CALLER, made)


def on_disk(folder: Path) -> set[str]:
    return {file.name for file in (folder / "relay-attachments").iterdir()}


async def test_a_file_goes_with_the_last_message_that_names_it(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        made = await give(keeper)
        for _ in range(2):
            message_id = await keeper.post("bob", attachments=(made.id,))
            dead = Receipt(agent_id="bob", instance_id="one", attempt=1, state=State.DEAD, reason="no")
            if message_id == 1:
                await keeper.store.receipt(message_id, dead)
        keeper.clock.now += MESSAGES_KEPT_S + 1
        await keeper.store.tidy()
        with pytest.raises(RelayNotFound):
            await keeper.store.record(OPERATOR_CALLER, 1)
        assert await keeper.store.attachment(agent_caller("bob"), made.id) == made
        await keeper.store.receipt(2, dead)
        keeper.clock.now += MESSAGES_KEPT_S + 1
        await keeper.store.tidy()
        with pytest.raises(RelayNotFound):
            await keeper.store.attachment(OPERATOR_CALLER, made.id)
        assert on_disk(tmp_path) == set()


async def test_many_unused_ones_go_in_small_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "FORGOTTEN", 2)
    async with keeping(tmp_path) as keeper:
        for _ in range(5):
            await give(keeper)
        keeper.clock.now += UNUSED_S + 1
        kept = await give(keeper)
        await keeper.store.tidy()
        assert on_disk(tmp_path) == {kept.id}


async def test_it_survives_the_relay(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        made = await give(keeper, b"still here")
    async with keeping(tmp_path, keeper.clock) as again:
        assert await again.store.attachment(OPERATOR_CALLER, made.id) == made
        assert b"".join([chunk async for chunk in again.store.files.read(made.id)]) == b"still here"
