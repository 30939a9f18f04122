"""What every relay must do with files: keep them, show them to whom they concern, and let them go."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from relay_runner.errors import RelayNotFound, RelayRefused, RelayRunnerError, RelayUnauthorized
from relay_runner.protocol.attachments import MAX_ATTACHMENTS, MAX_UNUSED, UNUSED_S, Attachment, NewAttachment
from relay_runner.protocol.frames import MessageNew
from relay_runner.protocol.messages import NewMessage, NewReply, State
from relay_runner.relay.base import Relay
from tests.contract.relays import World, seat

pytestmark = pytest.mark.anyio

BYTES = bytes(range(256)) * 1000


async def give(relay: Relay, content: bytes = BYTES, name: str = "data.bin", **more: Any) -> Attachment:
    """Upload some bytes, in pieces."""

    async def data() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 100_000):
            yield content[start : start + 100_000]

    return await relay.upload(NewAttachment(name=name, size=len(content), **more), data)


async def take(relay: Relay, attachment_id: str) -> bytes:
    """Download a file."""
    async with relay.download(attachment_id) as found:
        return b"".join([chunk async for chunk in found.chunks])


async def refused(with_: type[RelayRunnerError], call: Awaitable[Any], *words: str) -> None:
    with pytest.raises(with_) as caught:
        await call
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in words), text


async def test_a_file_goes_with_its_message_to_the_agent(world: World) -> None:
    async with seat(world, "bob") as bob:
        made = await give(world.operator, name="Quarterly report.pdf", content_type="application/pdf; charset=x")
        assert (made.name, made.size, made.content_type) == ("Quarterly report.pdf", len(BYTES), "application/pdf")
        assert made.sha256 == hashlib.sha256(BYTES).hexdigest()
        assert made.created_at == world.clock.now
        sent = await world.operator.send(NewMessage(to="bob", body="see there", attachments=(made.id,)))
        assert sent.message.attachments == (made,)
        frame = await bob.next(MessageNew)
        assert frame.message.attachments == (made,)
        assert await take(bob.relay, made.id) == BYTES
        async with bob.relay.download(made.id) as found:
            assert found.attachment == made
        assert (await bob.relay.message(sent.message.id)).message.attachments == (made,)


async def test_an_empty_file_is_a_file(world: World) -> None:
    made = await give(world.operator, b"", "nothing")
    assert made.size == 0 and await take(world.operator, made.id) == b""


async def test_a_name_never_names_a_place(world: World) -> None:
    for given, kept in {
        "../../etc/passwd": "passwd",
        "/etc/shadow": "shadow",
        "C:\\x\\evil.exe": "evil.exe",
        "..": "attachment",
        ".bashrc": "bashrc",
        "a\x1b[2Jb\nc.txt": "a [2Jb c.txt",
        "\u202egpj.exe": "gpj.exe",
        "Bericht für Ann.txt": "Bericht für Ann.txt",
        "": "attachment",
    }.items():
        assert (await give(world.operator, b"x", given)).name == kept
    assert len((await give(world.operator, b"x", "é" * 500 + ".txt")).name.encode()) <= 120


async def test_only_whom_it_concerns_may_fetch_it(world: World) -> None:
    async with seat(world, "bob") as bob, seat(world, "eve") as eve, await world.person("ann") as ann:
        made = await give(ann)
        assert await take(ann, made.id) == BYTES and await take(world.operator, made.id) == BYTES
        for other in (bob, eve):
            await refused(RelayNotFound, take(other.relay, made.id), "there is no attachment")
        await ann.send(NewMessage(to="bob", body="for you", attachments=(made.id,)))
        assert await take(bob.relay, made.id) == BYTES
        await refused(RelayNotFound, take(eve.relay, made.id), "there is no attachment")
        # Nobody gets at a file by naming it, and whoever may read it may pass it on.
        named = NewMessage(to="bob", body="mine", attachments=(made.id,))
        await refused(RelayNotFound, eve.relay.send(named), "there is no attachment")
        await bob.relay.send(NewMessage(to="eve", body="look", attachments=(made.id,)))
        assert await take(eve.relay, made.id) == BYTES


async def test_a_claimable_message_shows_its_file_to_those_who_may_take_it(world: World) -> None:
    async with seat(world, "bob", tags=("x",)) as bob, seat(world, "eve", tags=("y",)) as eve:
        made = await give(world.operator)
        new = NewMessage(to="tag:x", body="who?", claimable=True, attachments=(made.id,))
        await world.operator.send(new)
        assert await take(bob.relay, made.id) == BYTES
        await refused(RelayNotFound, take(eve.relay, made.id))


async def test_a_message_is_accepted_only_with_its_files(world: World) -> None:
    async with seat(world, "bob") as bob:
        good = await give(world.operator)
        for ids in (("0" * 32,), (good.id, "0" * 32), ("../../x",)):
            new = NewMessage(to="bob", body="x", attachments=ids)
            await refused(RelayNotFound, world.operator.send(new), "there is no attachment")
        await refused(
            RelayRefused, world.operator.send(NewMessage(to="bob", body="x", attachments=(good.id, good.id))), "once"
        )
        many = tuple(f"{number:032}" for number in range(MAX_ATTACHMENTS + 1))
        await refused(
            RelayRefused, world.operator.send(NewMessage(to="bob", body="x", attachments=many)), str(MAX_ATTACHMENTS)
        )
        for bad in ("0" * 32, "../../relay.db", "..%2frelay.db"):
            await refused(RelayNotFound, take(bob.relay, bad))
        assert (await world.operator.agent("bob")).queued == 0


async def test_a_reply_may_carry_a_file(world: World) -> None:
    async with seat(world, "bob") as bob:
        sent = await world.operator.send(NewMessage(to="bob", body="draw it"))
        made = await give(bob.relay, b"<svg/>", "it.svg", content_type="image/svg+xml")
        record = await bob.relay.reply(sent.message.id, NewReply(body="here", attachments=(made.id,)))
        assert record.message.attachments == (made,)
        assert await take(world.operator, made.id) == b"<svg/>"


async def test_what_is_too_large_is_refused_and_leaves_nothing(world: World) -> None:
    assert (await world.operator.attachment_limits()).max_bytes == 25 * 1024 * 1024
    world.limit(1000)
    assert (await world.operator.attachment_limits()).max_bytes == 1000
    assert (await give(world.operator, b"x" * 1000)).size == 1000
    with pytest.raises(RelayRefused) as caught:
        await give(world.operator, b"x" * 1001, "big.iso")
    assert caught.value.status == 413 and caught.value.code == "attachment-too-large"
    assert "big.iso is larger than 1000 bytes" in str(caught.value)


async def test_what_arrives_changed_is_refused(world: World) -> None:
    digest = hashlib.sha256(BYTES).hexdigest()
    assert (await give(world.operator, sha256=digest)).sha256 == digest
    await refused(RelayRefused, give(world.operator, BYTES + b"!", sha256=digest), "changed")


async def test_only_who_may_send_may_upload(world: World) -> None:
    async with await world.be("person:reader", ()) as reader:
        await refused(RelayUnauthorized, give(reader), "send")


async def test_an_upload_that_nobody_uses_goes_after_a_day(world: World) -> None:
    async with seat(world, "bob") as bob:
        unused, used = await give(world.operator), await give(world.operator)
        await world.operator.send(NewMessage(to="bob", body="x", attachments=(used.id,)))
        await bob.relay.receipt(1, bob.receipt(State.SUBMITTING))
        await bob.relay.receipt(1, bob.receipt(State.SEEN))
        await world.turn(UNUSED_S - 1)
        await world.tidy()
        assert await take(world.operator, unused.id) == BYTES
        await world.turn(2)
        await world.tidy()
        await refused(RelayNotFound, take(world.operator, unused.id))
        new = NewMessage(to="bob", body="x", attachments=(unused.id,))
        await refused(RelayNotFound, world.operator.send(new), "there is no attachment")
        assert await take(bob.relay, used.id) == BYTES


async def test_nobody_fills_the_disk_without_sending_anything(world: World) -> None:
    async with seat(world, "bob") as bob:
        made = [await give(bob.relay, b"x") for _ in range(MAX_UNUSED)]
        with pytest.raises(RelayRefused) as caught:
            await give(bob.relay, b"x")
        assert caught.value.status == 429 and "wait for a message" in str(caught.value)
        assert (await give(world.operator, b"x")).size == 1, "somebody else's count is their own"
        await bob.relay.send(NewMessage(to="person:op", body="there", attachments=(made[0].id,)))
        assert (await give(bob.relay, b"x")).size == 1
