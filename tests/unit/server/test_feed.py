"""Who is told what, and that nobody waits for anybody."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from relay_runner.protocol.commands import Command, CommandState
from relay_runner.protocol.events import Event
from relay_runner.protocol.frames import CommandFrame, MessageNew, PermissionDecision, Superseded, decode_server
from relay_runner.protocol.messages import Delivery, Message, State
from relay_runner.protocol.permissions import Decision, Permission, PermissionState
from relay_runner.server.feed import MAX_BYTES, MAX_EVENTS, MAX_FRAMES, REPLACED, SLOW, SUPERSEDED, Feed, Outbox
from relay_runner.server.metrics import Metrics
from relay_runner.server.store.base import Change

pytestmark = pytest.mark.anyio


def outbox(agent_id: str = "bob", instance_id: str = "one", bus_id: str = "b1", *addresses: str) -> Outbox:
    return Outbox(agent_id, instance_id, bus_id, "jti", frozenset(addresses))


def event(type_: str, seq: int = 1, **data: object) -> Event:
    return Event(seq=seq, type=type_, at=0.0, data=data)


def message(to: str = "agent:bob", sender: str = "person:op") -> Message:
    return Message(id=7, sender=sender, to=to, body="x", created_at=0.0, expires_at=1.0)


def queued(recipient: str | None, to: str = "agent:bob", sender: str = "person:op", **more: object) -> Change:
    delivery = Delivery(message_id=7, recipient=recipient, **more)  # type: ignore[arg-type]
    return Change(event("delivery", messageId=7), message(to, sender), delivery)


def joined(instance_id: str, bus_id: str, seq: int) -> Change:
    return Change(event("agent", seq, id="bob", action="joined", instanceId=instance_id, bus=bus_id))


async def drain(box: Outbox) -> list[object]:
    """Return the frames that wait, up to the end of a closed bus."""
    found: list[object] = []
    box.close(1000, "test")
    while (frame := await box.take()) is not None:
        found.append(decode_server(frame))
    return found


async def first(box: Outbox) -> object:
    frame = await box.take()
    assert frame is not None
    return decode_server(frame)


async def test_an_answer_goes_to_its_agents_bus_and_a_question_does_not() -> None:
    feed, bob, ann = Feed(Metrics()), outbox(), outbox("ann")
    asked = Permission(id="p1", agent_id="bob", instance_id="one", kind="tool", title="t", created_at=0.0)
    decided = replace(asked, state=PermissionState.DECIDED, decision=Decision.DENY, decided_by="person:op")
    with feed.bus(bob), feed.bus(ann):
        feed.publish([Change(event("permission"), permission=one) for one in (asked, decided)])
    frame = await first(bob)
    assert isinstance(frame, PermissionDecision) and (frame.decision, frame.by) == (Decision.DENY, "person:op")
    assert await drain(ann) == []


async def test_a_delivery_goes_to_its_agents_bus() -> None:
    feed, bob, ann = Feed(Metrics()), outbox(), outbox("ann")
    with feed.bus(bob), feed.bus(ann):
        feed.publish([queued("agent:bob"), queued("agent:bob", state=State.CLAIMED)])
    frame = await first(bob)
    assert isinstance(frame, MessageNew) and frame.message == message()
    assert await drain(bob) == [] and await drain(ann) == []


async def test_a_claimable_one_goes_to_every_bus_that_it_means_but_the_senders() -> None:
    feed = Feed(Metrics())
    boxes = [outbox(name, "one", name, *addresses) for name, *addresses in (["a", "tag:x"], ["b", "tag:x"], ["c"])]
    with feed.bus(boxes[0]), feed.bus(boxes[1]), feed.bus(boxes[2]):
        feed.publish([queued(None, "tag:x", "agent:a")])
    assert isinstance(await first(boxes[1]), MessageNew)
    assert await drain(boxes[0]) == [] and await drain(boxes[2]) == []


async def test_a_command_goes_to_its_target_once() -> None:
    feed, bob = Feed(Metrics()), outbox()
    accepted = Command(id="c", type="agent.kill", target="runner-bob", sender="person:op", created_at=0.0)
    done = replace(accepted, state=CommandState.SUCCEEDED)
    with feed.bus(bob):
        feed.publish([Change(event("command"), command=accepted, target="bob")])
        feed.publish([Change(event("command"), command=done, target="bob")])
    assert await first(bob) == CommandFrame(command=accepted)
    assert await drain(bob) == []


async def test_a_newer_instance_fences_the_older_and_not_one_that_has_not_joined_yet() -> None:
    feed, old, new, waiting = Feed(Metrics()), outbox(), outbox("bob", "two", "b2"), outbox("bob", "three", "b3")
    with feed.bus(old), feed.bus(new), feed.bus(waiting):
        feed.publish([joined("one", "b1", 1)])
        feed.publish([joined("two", "b2", 2)])
        assert old.closed is not None and old.closed[0] == SUPERSEDED
        assert new.closed is None and waiting.closed is None
        assert await first(old) == Superseded(by="two") and await old.take() is None


async def test_the_same_instance_replaces_its_own_bus() -> None:
    feed, old, new = Feed(Metrics()), outbox(), outbox("bob", "one", "b2")
    with feed.bus(old), feed.bus(new):
        feed.publish([joined("one", "b1", 1), joined("one", "b2", 2)])
        assert old.closed is not None and old.closed[0] == REPLACED
        assert await old.take() is None


@pytest.mark.parametrize(("frame", "count"), [(b"x", MAX_FRAMES), (b"x" * (MAX_BYTES // 4), 4)])
async def test_a_queue_that_overflows_closes_its_bus(frame: bytes, count: int) -> None:
    box = outbox()
    assert all(box.offer(frame) for _ in range(count))
    assert not box.offer(frame)
    assert box.closed is not None and box.closed[0] == SLOW
    assert await box.take() is None
    assert box.offer(frame)  # nothing more is queued, and it is not counted again
    assert await box.take() is None


async def test_one_frame_may_be_larger_than_the_queue() -> None:
    box = outbox()
    assert box.offer(b"x" * (MAX_BYTES + 1))
    assert not box.offer(b"x")


async def test_watchers_and_streams_hear_what_concerns_them() -> None:
    feed = Feed(Metrics())
    with feed.watching(7) as seven, feed.watching(8) as eight, feed.subscribed() as stream:
        feed.publish([Change(event("delivery", messageId=7))])
        assert seven.is_set() and not eight.is_set()
        feed.publish([Change(event("message", id=9, replyTo=8))])
        assert eight.is_set()
        assert [event.type for event in stream.events] == ["delivery", "message"]
        feed.publish([Change(event("task", number)) for number in range(MAX_EVENTS)])
        assert stream.lost
    feed.publish([Change(event("delivery", messageId=7))])
    assert len(stream.events) <= MAX_EVENTS
