"""Which messages a process has, and how the turns that carried them ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import TurnEnded
from relay_runner.providers.claude.transcript import KEPT_TURNS, SOURCE, Ledger, Turn

IDLE_GRACE_S = 1.0
"""How long an idle state file waits for the transcript to say why a turn without a Stop ended."""
RECALL_GRACE_S = 3.0
"""The same for what an earlier runner left: a busy machine wrote what happened last a second late."""


class Carried:
    """The messages of one process."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.loose: list[str] = []
        """Messages seen in the transcript only (steered in, or a lost hook): the transcript says how their turn ends.
        It is written up to a few hundred milliseconds after the hooks fire, so no open turn may claim them."""
        self._seen: set[str] = set()
        self._settled: dict[str, TurnEnded] = {}
        self._recalled_at = float("-inf")

    def has(self, nonce: str) -> bool:
        """Say whether the program has the message: the model saw it, or it waits in the program's own queue."""
        return nonce in self._seen or nonce in self.ledger.queued

    def settled(self, nonce: str) -> TurnEnded | None:
        """Return how the message's turn ended, if that was told; the transcript may not have it yet."""
        return self._settled.get(nonce)

    def prompt(self, found: Iterable[str]) -> tuple[list[str], list[str]]:
        """Take the messages of a prompt; return which are new, and which its turn carries."""
        found = list(found)
        new = [nonce for nonce in found if nonce not in self._seen]
        # The transcript may have been quicker: then the message is seen already, and loose.
        carried = [nonce for nonce in found if nonce in new or nonce in self.loose]
        self.loose = [nonce for nonce in self.loose if nonce not in carried]
        self._seen.update(new)
        return new, carried

    def queue(self, found: Iterable[str]) -> None:
        """Take messages that the program keeps for later: the transcript shows when the model gets them."""
        self.ledger.queued.update(nonce for nonce in found if nonce not in self._seen)

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
            self.loose.extend(told.nonces)

    def claim_loose(self) -> list[str]:
        """Return all loose messages, and let a turn have them."""
        claimed, self.loose = self.loose, []
        return claimed

    def settle(self, ended: TurnEnded) -> TurnEnded:
        """Keep how a turn ended, and return it."""
        self._settled.update(dict.fromkeys(ended.nonces, ended))
        while len(self._settled) > KEPT_TURNS:
            del self._settled[next(iter(self._settled))]
        return ended

    def settle_loose(self) -> list[TurnEnded]:
        """End what the transcript shows as ended and no turn of ours carried: its line came after the Stop."""
        ended = []
        for nonce in list(self.loose):
            told = self.ledger.turn_of(nonce)
            if told is not None and told.outcome is not None:
                self.loose.remove(nonce)
                result = told.result if told.outcome is Outcome.COMPLETED else None
                ended.append(self.settle(TurnEnded(told.outcome, SOURCE, (nonce,), result, told.reason)))
        return ended

    def give_up(self, idle_since: float, now: float, source: str, reason: str) -> list[TurnEnded]:
        """End what is loose although the program is idle for long: it gave up, or its last line is never written."""
        patience_s = IDLE_GRACE_S if self._recalled_at < idle_since else RECALL_GRACE_S
        if now - max(idle_since, self._recalled_at) < patience_s:
            return []
        ended = []
        for nonce in self.claim_loose():
            told = self.ledger.turn_of(nonce) or Turn()
            found = told.cut_off(reason)
            assert found.outcome is not None
            ended.append(self.settle(TurnEnded(found.outcome, source, (nonce,), found.result, found.reason)))
        return ended
