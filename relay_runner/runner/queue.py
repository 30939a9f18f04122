"""Which message goes in next: a pure object over what waits.

`queue` messages of one sender keep their order: one that must wait (held, put back with a delay) holds back the later
ones of the same sender, nobody else's. `steer` and `interrupt` messages overtake: that is what they are for.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay_runner.protocol.messages import Delivery, Message, Timing

Key = tuple[int, int, float]
"""(message id, attempt, created at): an id alone may come again after a relay was set up anew."""


def key_of(message: Message, delivery: Delivery) -> Key:
    """Return what tells one delivery from every other."""
    return (message.id, delivery.attempt, message.created_at)


@dataclass(slots=True)
class Entry:
    """One delivery that waits."""

    message: Message
    attempt: int
    not_before: float = 0.0
    claimed: bool = False
    held: str | None = None
    """Why it was held at the last try, None when it was not."""
    reason: str | None = None
    """Why it was held last, also while another try goes on."""
    retry_s: float = 0.0

    @property
    def key(self) -> Key:
        """What tells this delivery from every other."""
        return (self.message.id, self.attempt, self.message.created_at)


class InboxQueue:
    """Keep what waits, in the order of the relay's ids."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def add(self, entry: Entry) -> bool:
        """Put an entry in; False when it is there already."""
        if entry.key in self._entries:
            return False
        self._entries[entry.key] = entry
        return True

    def remove(self, key: Key) -> None:
        """Take an entry out; one that is not there is fine."""
        self._entries.pop(key, None)

    def waiting(self) -> list[Entry]:
        """Return all entries, oldest first."""
        return sorted(self._entries.values(), key=lambda entry: entry.key)

    def hasten(self) -> None:
        """Let what was held be tried at once."""
        for entry in self._entries.values():
            if entry.reason is not None:
                entry.not_before = 0.0

    def next(self, now: float, *, idle: bool, can_steer: bool, can_interrupt: bool) -> Entry | None:
        """Return the entry to handle now: any when idle, else only one that may go into (or end) the running turn."""
        urgent = {Timing.STEER: idle or can_steer, Timing.INTERRUPT: idle or can_interrupt, Timing.QUEUE: False}
        waiting = self.waiting()
        for entry in waiting:
            if entry.not_before <= now and urgent[entry.message.timing]:
                return entry
        held: set[str] = set()
        for entry in waiting if idle else ():
            if entry.not_before > now or entry.message.sender in held:
                held.add(entry.message.sender)
            else:
                return entry
        return None

    def next_due(self, now: float) -> float | None:
        """Return when the first entry that must wait becomes due, or None."""
        return min((e.not_before for e in self._entries.values() if e.not_before > now), default=None)
