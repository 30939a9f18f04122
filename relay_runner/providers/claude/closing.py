"""Hold the end of a turn back until it is known what the turn cost and carried; what happens after it waits too.

The Stop hook comes before the transcript has the model's last line (100 ms, 2.1.197) and before the status line tells
the cost (300 ms). Nothing is lost by waiting, for what comes out stays in order, and the wait is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import Emit, Event, TurnEnded
from relay_runner.providers.claude.spending import Spending
from relay_runner.providers.claude.transcript import Turn

TOKENS_S = 1.5
"""How long the transcript may take, on a busy machine, to show the end of a turn that a hook told."""
COST_S = 2.0
"""How long the status line may take to tell the cost of a turn; once late, nobody waits until it comes again."""


@dataclass(slots=True)
class _Waiting:
    event: Event
    since: float


class Closing:
    """What is told, in order."""

    def __init__(
        self,
        emit: Emit,
        spending: Spending,
        transcript: Callable[[], Path | None],
        turn_of: Callable[[Iterable[str]], Turn | None] = lambda nonces: None,
    ) -> None:
        """`turn_of` returns what the transcript says of the turn that carried any of some messages."""
        self._emit = emit
        self._spending = spending
        self._transcript = transcript
        self._turn_of = turn_of
        self._queue: deque[_Waiting] = deque()

    @property
    def waiting(self) -> bool:
        """Whether something is held back."""
        return bool(self._queue)

    def tell(self, events: Iterable[Event], now: float) -> None:
        """Pass events on, now or a moment later."""
        self._queue.extend(_Waiting(event, now) for event in events)
        self.flush(now)

    def flush(self, now: float) -> None:
        """Pass on what need not wait any more."""
        while self._queue and self._ripe(self._queue[0], now):
            self._pass_on()

    def close(self) -> None:
        """Pass everything on: nobody looks any more."""
        while self._queue:
            self._pass_on()

    def _pass_on(self) -> None:
        event = self._queue.popleft().event
        if isinstance(event, TurnEnded):
            event = replace(self._whole(event), usage=self._spending.take(self._transcript()))
        self._emit(event)

    def _whole(self, ended: TurnEnded) -> TurnEnded:
        """Return the end of a turn with all that it carried: what was steered into it ends by an event of its own."""
        if (turn := self._turn_of(ended.nonces)) is None:
            return ended
        carried = tuple(dict.fromkeys((*ended.nonces, *turn.nonces)))
        return replace(ended, carried=carried, by_hand=ended.by_hand or turn.by_hand)

    def _ripe(self, waiting: _Waiting, now: float) -> bool:
        event = waiting.event
        if not isinstance(event, TurnEnded) or not event.source.startswith("hook:"):
            return True
        waited_s = now - waiting.since
        if not self._spending.closed and waited_s < TOKENS_S:
            return False
        if not self._spending.priced or event.outcome is not Outcome.COMPLETED:
            return True
        if waited_s >= COST_S:
            self._spending.priced = False
        return self._spending.priced_at >= waiting.since or waited_s >= COST_S
