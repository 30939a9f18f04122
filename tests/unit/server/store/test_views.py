"""Pages of messages, and who may see what of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import RelayNotFound, RelayUnauthorized
from relay_runner.protocol.access import Caller
from relay_runner.protocol.messages import MessageQuery, Receipt, State
from relay_runner.server.store.views import MAX_PAGE
from tests.unit.server.store.world import OPERATOR_CALLER, agent_caller, keeping

pytestmark = pytest.mark.anyio


async def test_a_page_has_an_end_in_number_and_in_size(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        for _ in range(12):
            await keeper.post("bob", "x" * 1_000_000)
        everything = MessageQuery(recipient="agent:bob", limit=10_000, oldest_first=True)
        page = await keeper.store.records(OPERATOR_CALLER, everything)
        assert [record.message.id for record in page] == list(range(1, 9))
        rest = await keeper.store.records(OPERATOR_CALLER, MessageQuery(recipient="agent:bob", after=8))
        assert len(page) + len(rest) == 12
        for limit in (0, -5):
            assert len(await keeper.store.records(OPERATOR_CALLER, MessageQuery(limit=limit))) == 1
        assert MAX_PAGE == 500


async def test_the_conditions_of_a_query_hold_together(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        await keeper.join("ann")
        first = await keeper.post("bob")
        second = await keeper.post("broadcast")
        third = await keeper.post("bob", reply_to=first)
        dead = Receipt(agent_id="bob", instance_id="one", attempt=1, state=State.DEAD, reason="no")
        await keeper.store.receipt(second, dead)
        await keeper.store.read(agent_caller("bob"), first)

        async def ids(caller: Caller = OPERATOR_CALLER, **query: object) -> list[int]:
            found = await keeper.store.records(caller, MessageQuery(oldest_first=True, **query))  # type: ignore[arg-type]
            return [record.message.id for record in found]

        assert await ids() == [first, second, third]
        assert await ids(recipient="agent:bob") == [first, second, third]
        assert await ids(recipient="agent:ann") == [second]
        assert await ids(recipient="agent:bob", states=(State.DEAD,)) == [second]
        assert await ids(recipient="agent:ann", states=(State.DEAD,)) == []
        assert await ids(recipient="agent:bob", unread=True) == [second, third]
        assert await ids(sender="person:op", states=(State.DEAD,)) == [second]
        assert await ids(sender="agent:bob") == []
        assert await ids(sender="person:op", recipient="agent:ann") == [second]
        assert await ids(reply_to=first) == [third]
        assert await ids(states=(State.DEAD,)) == [second]
        assert await ids(agent_caller("bob"), unread=True) == [second, third]
        assert await ids(agent_caller("bob"), sender="person:op") == [first, second, third]
        assert await ids(agent_caller("ann"), sender="person:op") == [second]
        with pytest.raises(RelayUnauthorized):
            await ids(agent_caller("ann"), recipient="agent:bob")


async def test_a_recipient_sees_its_own_delivery_only(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        for agent_id in ("ann", "bob"):
            await keeper.join(agent_id)
        message_id = await keeper.post("broadcast")
        (own,) = (await keeper.store.record(agent_caller("ann"), message_id)).deliveries
        assert own.recipient == "agent:ann"
        with pytest.raises(RelayNotFound):
            await keeper.store.record(agent_caller("eve"), message_id)
        for message_id in (0, -1, 2**64):
            with pytest.raises(RelayNotFound):
                await keeper.store.record(OPERATOR_CALLER, message_id)
