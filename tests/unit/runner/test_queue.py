from hypothesis import given
from hypothesis import strategies as st

from relay_runner.protocol.messages import Message, Timing
from relay_runner.runner.queue import Entry, InboxQueue


def _entry(id: int, sender: str = "agent:bob", timing: Timing = Timing.QUEUE, not_before: float = 0.0) -> Entry:
    message = Message(
        id=id, sender=sender, to="agent:me", body="x", created_at=float(id), expires_at=9e9, timing=timing
    )
    return Entry(message, 1, not_before)


def _queue(*entries: Entry) -> InboxQueue:
    queue = InboxQueue()
    for entry in entries:
        queue.add(entry)
    return queue


def _next(
    queue: InboxQueue, now: float = 10.0, *, idle: bool = True, steer: bool = False, interrupt: bool = False
) -> int | None:
    entry = queue.next(now, idle=idle, can_steer=steer, can_interrupt=interrupt)
    return entry.message.id if entry else None


def test_the_oldest_goes_first_whatever_the_order_of_arrival() -> None:
    assert _next(_queue(_entry(3), _entry(1), _entry(2))) == 1


def test_the_same_delivery_twice_is_one() -> None:
    queue = _queue(_entry(1))
    assert not queue.add(_entry(1))
    assert len(queue) == 1


def test_nothing_goes_into_a_running_turn_but_what_asks_for_it() -> None:
    queue = _queue(_entry(1), _entry(2, timing=Timing.STEER), _entry(3, timing=Timing.INTERRUPT))
    assert _next(queue, idle=False) is None
    assert _next(queue, idle=False, steer=True) == 2
    assert _next(queue, idle=False, interrupt=True) == 3


def test_urgent_messages_overtake_when_idle_too() -> None:
    assert _next(_queue(_entry(1), _entry(2, timing=Timing.INTERRUPT))) == 2


def test_a_held_message_holds_back_its_sender_and_nobody_else() -> None:
    queue = _queue(_entry(1, "a", not_before=20.0), _entry(2, "a"), _entry(3, "b"))
    assert _next(queue) == 3
    assert queue.next_due(10.0) == 20.0
    assert _next(queue, now=20.0) == 1


_ENTRIES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 50.0, 100.0])), max_size=30).map(
    lambda rows: [_entry(id, sender, not_before=due) for id, (sender, due) in enumerate(rows, 1)]
)


@given(_ENTRIES, st.randoms(use_true_random=False))
def test_every_senders_messages_go_in_order_and_all_of_them_go(entries: list[Entry], random: object) -> None:
    order = list(entries)
    random.shuffle(order)  # type: ignore[attr-defined]
    queue, now, taken = _queue(*order), 0.0, []
    while len(queue):
        entry = queue.next(now, idle=True, can_steer=False, can_interrupt=False)
        if entry is None:
            due = queue.next_due(now)
            assert due is not None, "something waits for nothing"
            now = due
            continue
        queue.remove(entry.key)
        taken.append(entry)
    for sender in "abc":
        ids = [entry.message.id for entry in taken if entry.message.sender == sender]
        assert ids == sorted(ids)
    assert len(taken) == len(entries)
