"""Which messages a process has, and how the turns that carried them ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import TurnEnded
from relay_runner.providers.claude.transcript import KEPT_TURNS, SOURCE, Ledger, Turn

IDLE_GRACE_S = 1.0
"""How long an idle state file waits for the transcript to say why a turn without a Stop ended."""
BEGIN_GRACE_S = 3.0
"""How long a state file that was idle before a message was may take to say that its turn runs, or ran."""
RECALL_GRACE_S = 3.0
"""The same for what an earlier runner left: a busy machine wrote what happened last a second late."""


class Carried:
    """The messages of one process."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._loose: dict[str, float] = {}
        self._seen: set[str] = set()
        self._told: dict[str, float] = {}
        """When a prompt hook named a message."""
        self._settled: dict[str, TurnEnded] = {}
        self._recalled_at = float("-inf")

    def has(self, nonce: str) -> bool:
        """Say whether the program has the message: the model saw it, or it waits in the program's own queue."""
        return nonce in self._seen or nonce in self._told or nonce in self.ledger.queued

    @property
    def loose(self) -> tuple[str, ...]:
        """Return the messages seen in the transcript only (steered in, or a lost hook).

        The transcript says how their turn ends. It is written up to a few hundred milliseconds after the hooks fire, so
        no open turn may claim them.
        """
        return tuple(self._loose)

    def loosen(self, nonce: str, now: float) -> None:
        """Let the transcript say how the turn of a message ends."""
        self._loose[nonce] = now

    def told_at(self, nonce: str) -> float | None:
        """Return when a prompt hook named the message."""
        return self._told.get(nonce)

    def tell(self, found: Iterable[str], now: float) -> None:
        """Take the messages that a prompt hook names."""
        for nonce in found:
            self._told.setdefault(nonce, now)
        while len(self._told) > KEPT_TURNS:
            del self._told[next(iter(self._told))]

    def settled(self, nonce: str) -> TurnEnded | None:
        """Return how the message's turn ended, if that was told; the transcript may not have it yet."""
        return self._settled.get(nonce)

    def prompt(self, found: Iterable[str]) -> tuple[list[str], list[str]]:
        """Take the messages of a prompt; return which are new, and which its turn carries."""
        found = list(found)
        new = [nonce for nonce in found if nonce not in self._seen]
        # The transcript may have been quicker: then the message is seen already, and loose.
        carried = [nonce for nonce in found if nonce in new or nonce in self._loose]
        for nonce in carried:
            self._loose.pop(nonce, None)
        self._seen.update(new)
        return new, carried

    def see(self, nonce: str) -> bool:
        """Take a message that the transcript shows; say whether that is news."""
        new = nonce not in self._seen
        self._seen.add(nonce)
        return new

    def recall(self, batch: Iterable[Any], now: float) -> None:
        """Take the transcript as an earlier runner left it."""
        self._recalled_at = now
        for line in batch:
            self._seen.update(self.ledger.feed(line))
        told = self.ledger.current
        if told is not None and not told.ended:
            self._loose.update(dict.fromkeys(told.nonces, now))

    def claim_loose(self) -> list[str]:
        """Return all loose messages, and let a turn have them."""
        claimed, self._loose = list(self._loose), {}
        return claimed

    def silent(self, idle_since: float) -> tuple[str, ...]:
        """Return the loose messages that a program is idle in spite of: it became so after they were seen."""
        return tuple(nonce for nonce, seen_at in self._loose.items() if seen_at < idle_since)

    def settle(self, ended: TurnEnded) -> TurnEnded:
        """Keep how a turn ended, and return it."""
        self._settled.update(dict.fromkeys(ended.nonces, ended))
        while len(self._settled) > KEPT_TURNS:
            del self._settled[next(iter(self._settled))]
        return ended

    def settle_loose(self) -> list[TurnEnded]:
        """End what the transcript shows as ended and no turn of ours carried: its line came after the Stop."""
        ended = []
        for nonce in self.loose:
            told = self.ledger.turn_of(nonce)
            if told is not None and told.outcome is not None:
                del self._loose[nonce]
                result = told.result if told.outcome is Outcome.COMPLETED else None
                ended.append(self.settle(TurnEnded(told.outcome, SOURCE, (nonce,), result, told.reason)))
        return ended

    def give_up(self, idle_since: float, now: float, source: str, reason: str) -> list[TurnEnded]:
        """End what is loose although the program is idle for long: it gave up, or its last line is never written."""
        ended = []
        for nonce, seen_at in list(self._loose.items()):
            if now - max(idle_since, seen_at) < self._patience_s(idle_since, seen_at):
                continue
            del self._loose[nonce]
            told = self.ledger.turn_of(nonce) or Turn()
            found = told.cut_off(reason)
            assert found.outcome is not None
            ended.append(self.settle(TurnEnded(found.outcome, source, (nonce,), found.result, found.reason)))
        return ended

    def _patience_s(self, idle_since: float, seen_at: float) -> float:
        """Return how long a message may be loose in an idle program, counted from what is newer of the two.

        A program that is idle since before the message was seen is idle since the turn before: its own turn is about to
        begin, or is too short for anybody to have seen it begin.
        """
        if idle_since <= self._recalled_at:
            return RECALL_GRACE_S
        return IDLE_GRACE_S if seen_at < idle_since else BEGIN_GRACE_S
